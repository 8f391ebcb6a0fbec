import { supportedMimeTypes } from 'file-type'
import { canonicalType, isActive, kindOf } from '../../src/plugin.ts'
import { compoundTypes } from './cfb.ts'
import { ownTypes } from './signatures.ts'
import { packageTypes } from './zip.ts'

const shown = new Set([
  ...[...supportedMimeTypes].map(canonicalType),
  ...[...ownTypes, ...packageTypes, ...compoundTypes].map(({ contentType }) => contentType),
])

/** Whether bytes of this type show that they are of it, so that other bytes belie the claim. Text is told from all else. */
export const isShown = (contentType: string): boolean =>
  shown.has(contentType) || kindOf(contentType) === 'text' || isActive(contentType)

import { documentRows } from './name-table/documents.ts'
import { filmRows, imageRows, soundRows } from './name-table/media.ts'
import { archiveRows, otherRows } from './name-table/others.ts'
import type { TypeRow } from './name-table/row.ts'
import { textRows } from './name-table/texts.ts'

export { aliasesOf } from './name-table/aliases.ts'

/**
 * What is known of types, family by family. An extension that is in several rows means the first of them, unless the declared
 * type is that of a later one: `.ts` is TypeScript, and MPEG-TS when it was declared as `video/mp2t`.
 */
export const typeRows: readonly TypeRow[] = [
  ...imageRows,
  ...filmRows,
  ...soundRows,
  ...documentRows,
  ...archiveRows,
  ...textRows,
  ...otherRows,
]

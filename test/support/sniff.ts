import { expect } from 'vitest'
import { sniffType, type SniffTypeOptions } from '../../plugins/sniff-type.ts'
import { Rejection } from '../../src/errors.ts'
import { bytesSource, runPluginOn, sampleUpload, uploadContext } from './plugin-harness.ts'

/** What the plugin makes of these bytes; or the error with which it refuses them. */
export async function sniff(
  bytes: Uint8Array | string,
  filename = 'file',
  declaredType: string | null = null,
  options: SniffTypeOptions = {},
) {
  const content = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  const { inspect } = sniffType(options)
  const head = content.subarray(0, inspect?.bytes)
  const patch = await inspect?.handler(head, uploadContext(sampleUpload({ filename, declaredType })))
  return { ...patch?.properties, ...Object(patch?.extra?.['sniff-type']) }
}

export async function refusal(...args: Parameters<typeof sniff>): Promise<Rejection> {
  const error: unknown = await sniff(...args).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Rejection)
  return error instanceof Rejection ? error : new Rejection('internal', 'not refused')
}

/** The same when all of the file has been stored, and what was read of it. */
export async function sniffWhole(
  content: Uint8Array,
  filename = 'upload',
  declaredType: string | null = null,
  options: SniffTypeOptions = {},
) {
  const source = bytesSource(Buffer.from(content), '')
  const { patch, reads } = await runPluginOn(sniffType(options), source, { filename, declaredType })
  return { ...patch.properties, ...Object(patch.extra?.['sniff-type']), reads }
}

import { bytesText } from '../../bytes-text.ts'
import type { Output } from '../command.ts'
import type { UploadFailure } from './failure.ts'
import { shownName, timeText } from './progress.ts'
import type { Sent } from './send.ts'
import type { UploadRecord } from './server.ts'

/** What a shell says of a program that was ended by Ctrl-C. */
export const interruptedCode = 130

/** What has become of one file. */
export type Outcome =
  | { readonly named: string; readonly status: 'ready' | 'processing'; readonly sent: Sent }
  | { readonly named: string; readonly status: 'failed'; readonly failure: UploadFailure }
  | { readonly named: string; readonly status: 'interrupted' }

/** @param ms how long it has taken in all */
export function report(outcomes: readonly Outcome[], ms: number): Output {
  const interrupted = outcomes.some(({ status }) => status === 'interrupted')
  const failed = outcomes.some(({ status }) => status === 'failed')
  const ok = !interrupted && !failed
  return {
    json: { ok, interrupted, files: outcomes.map(fileJson) },
    text: [...outcomes.flatMap(fileLine), ...summary(outcomes, interrupted, ms)].join('\n'),
    exitCode: interrupted ? interruptedCode : failed ? 1 : 0,
  }
}

function fileJson(outcome: Outcome): Record<string, unknown> {
  const sent = 'sent' in outcome ? outcome.sent : undefined
  const failure = 'failure' in outcome ? outcome.failure : undefined
  return {
    file: outcome.named,
    status: outcome.status,
    id: sent?.id ?? null,
    url: sent?.recordUrl ?? null,
    content_type: sent?.record?.content_type ?? null,
    size_bytes: sent?.record?.size_bytes ?? null,
    width: sent?.record?.width ?? null,
    height: sent?.record?.height ?? null,
    duration: sent?.record?.duration ?? null,
    resumed_from: sent?.resumedFrom ?? null,
    error: failure?.message ?? null,
    error_code: failure?.code ?? null,
  }
}

/** Failures were told when they came. */
function fileLine(outcome: Outcome): string[] {
  if (!('sent' in outcome)) return []
  const { id, record, recordUrl } = outcome.sent
  const facts = record === null ? ['its record cannot be read with this key'] : factsOf(record)
  const state = outcome.status === 'processing' ? ['still being processed'] : []
  return [`${shownName(outcome.named)}: ${[id, ...state, ...facts, recordUrl].join(', ')}`]
}

const factsOf = ({ content_type, size_bytes, width, height, duration }: UploadRecord): string[] => [
  content_type,
  ...(size_bytes === null ? [] : [bytesText(size_bytes)]),
  ...(width === null || height === null ? [] : [`${width}×${height}`]),
  ...(duration === null ? [] : [`${Math.round(duration * 10) / 10} s`]),
]

/** One file, and all is said. */
function summary(outcomes: readonly Outcome[], interrupted: boolean, ms: number): string[] {
  const done = outcomes.filter((outcome) => 'sent' in outcome).length
  const count = `${done} of ${outcomes.length} ${outcomes.length === 1 ? 'file' : 'files'}`
  if (interrupted) return [`Interrupted, ${count} uploaded: run the same command again to go on.`]
  return outcomes.length === 1 ? [] : [`${count} uploaded in ${timeText(ms)}.`]
}

import type { Plugin } from '../src/plugin.ts'

export interface QuotaOptions {
  /** Bytes beyond those that have come that an upload of unknown length holds at most. @default 8 MiB */
  readonly step?: number
}

const defaultStep = 8 * 1024 * 1024 // bytes

/**
 * Holds every unfinished upload's bytes against its workspace's storage quota, so that what is accepted always fits.
 * The quota itself stands in the records (`fairlead workspaces set-quota`) or in `limits.workspaceQuota`; the records count.
 */
export function quota(options: QuotaOptions = {}): Plugin {
  const step = options.step ?? defaultStep
  if (!Number.isSafeInteger(step) || step < 1) throw new TypeError('quota: step is a number of bytes, at least 1')
  return {
    name: 'quota',

    beforeCreate(draft) {
      return draft.declaredSize === null ? undefined : { reserve: draft.declaredSize }
    },

    tap(ctx) {
      // Of what is stored already the size is known: `beforeFinish` asks for it at once.
      if (ctx.upload.declaredSize !== null || ctx.upload.size !== null) return undefined
      let seen = 0
      let held = ctx.upload.reserved
      const grow = async (needed: number) => {
        // Most bodies come in one piece, and then hold just what they are; a long one takes ever larger steps.
        const wanted = held === 0 ? needed : needed + Math.min(step, seen)
        try {
          await ctx.reserve(wanted)
          held = wanted
        } catch {
          // Where a whole step has no more room, the bytes themselves may still have.
          await ctx.reserve(needed)
          held = needed
        }
      }
      return {
        write(chunk, ahead) {
          seen += chunk.length
          return seen > held ? grow(seen + ahead) : undefined
        },
        end() {},
      }
    },

    async beforeFinish(bytes, ctx) {
      if (ctx.upload.reserved < bytes.size) await ctx.reserve(bytes.size)
    },
  }
}

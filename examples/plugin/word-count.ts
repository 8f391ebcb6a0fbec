import type { Plugin } from 'fairlead'

export interface WordCountOptions {
  /** Texts with more words are refused. */
  readonly maxWords: number
}

const space = /\s/

/** Counts the words of plain texts while they pass, and refuses long ones. */
export function wordCount({ maxWords }: WordCountOptions): Plugin {
  return {
    name: 'word-count',
    requires: ['contentType'],
    accepts: (upload) => upload.properties.contentType === 'text/plain',
    tap(ctx) {
      const decoder = new TextDecoder()
      let words = 0
      let inWord = false
      const count = (text: string) => {
        for (const character of text) {
          const isLetter = !space.test(character)
          if (isLetter && !inWord) words++
          inWord = isLetter
        }
      }
      return {
        write: (chunk) => count(decoder.decode(chunk, { stream: true })),
        end() {
          count(decoder.decode())
          if (words > maxWords)
            ctx.reject('validation_failed', `The text has ${words} words; ${maxWords} are allowed.`, { words })
          return { extra: { 'word-count': { words } } }
        },
      }
    },
  }
}

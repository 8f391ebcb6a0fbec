import { registerHooks } from 'node:module'

/** These files are `.ts` in a clone and `.js` in the package. */
const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
const modules: ReadonlyMap<string, string> = new Map([
  ['fairlead', new URL(`index${extension}`, import.meta.url).href],
  ['fairlead/plugins', new URL(`built-in-plugins${extension}`, import.meta.url).href],
])

/**
 * Whoever imports `fairlead` gets the program that runs, wherever the file is: a configuration needs no package beside it, and
 * never meets a second copy.
 */
export function answerToOwnName(): void {
  registerHooks({
    resolve(specifier, context, next) {
      const url = modules.get(specifier)
      return url === undefined ? next(specifier, context) : { url, shortCircuit: true }
    },
  })
}

import { typesOfKind } from '../../src/plugin.ts'

/** Patterns for `allow` and `deny` of `sniffType`, by what a person calls a file. */
export const families = {
  /** PDF, RTF, PostScript, books, the files of Microsoft Office, OpenDocument and iWork, and text that people write: plain, Markdown, CSV. */
  documents: [...typesOfKind('document'), 'text/plain', 'text/markdown', 'text/csv', 'text/tab-separated-values'],
  /** Every picture. SVG is one, and may hold scripts: name `image/svg+xml` in `deny` where nobody needs it. */
  images: ['image/*'],
  /** Every sound, and Ogg of which nothing more is known. */
  audio: ['audio/*', 'application/ogg'],
  /** Every film. */
  video: ['video/*', 'application/ogg', 'application/mxf', 'application/vnd.rn-realmedia'],
} as const satisfies Readonly<Record<string, readonly string[]>>

import { writeFile } from 'node:fs/promises'
import { handmade } from './handmade/small.ts'
import { samplePath } from './samples.ts'

// Writes the files of test/samples/types/ that handmade/small.ts describes. Usage: node test/support/make-handmade.ts
for (const [file, bytes] of Object.entries(handmade)) await writeFile(samplePath({ file }), bytes)

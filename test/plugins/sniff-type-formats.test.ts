import { fileTypeFromBuffer, supportedExtensions } from 'file-type'
import { beforeAll, describe, expect, it } from 'vitest'
import { readFile } from 'node:fs/promises'
import { compoundTypes } from '../../plugins/sniff-type/cfb.ts'
import { packageTypes } from '../../plugins/sniff-type/zip.ts'
import { isMimeType, type NamedType, typesOfName } from '../../src/uploads/names.ts'
import { compounds, packages } from '../support/handmade/packages.ts'
import { signatures } from '../support/handmade/signatures.ts'
import { samplePath, samples } from '../support/samples.ts'
import { sniff } from '../support/sniff.ts'

const formatsOf = (types: readonly NamedType[]) => new Set(types.map(({ format }) => format))
/** What only a name can say of an encrypted compound file. */
const encrypted = ['docx', 'docm', 'xlsx', 'xlsm', 'xlsb', 'pptx', 'pptm']
const names = ['upload', 'photo.jpg', 'film.mp4', 'letter.docx', 'notes.txt']

describe('every format that the bytes can show', () => {
  it.each(Object.entries({ ...packages, ...compounds }))('%s is told without a name', async (format, bytes) => {
    const { contentType } = typesOfName(`.${format}`).find((type) => type.format === format) ?? {}
    expect(await sniff(bytes)).toMatchObject({ format, contentType })
  })

  it.each(Object.entries({ ...packages, ...compounds, ...signatures }))(
    '%s has a type, whatever it is called',
    async (format, bytes) => {
      for (const name of [...names, `file.${format}`]) {
        expect((await sniff(bytes, name)).contentType).toSatisfy(isMimeType)
      }
    },
  )

  it('is among these: archives and compound files', () => {
    expect(new Set(Object.keys(packages))).toEqual(formatsOf(packageTypes))
    expect(new Set([...Object.keys(compounds), ...encrypted])).toEqual(formatsOf(compoundTypes))
  })

  const shown = new Set<string>(Object.keys(packages))
  beforeAll(async () => {
    const files = await Promise.all(samples.map((sample) => readFile(samplePath(sample))))
    for (const bytes of [...files, ...Object.values(signatures)]) {
      shown.add((await fileTypeFromBuffer(bytes).catch(() => undefined))?.ext ?? '')
    }
  })

  it('is among these: those of the library', () => {
    expect([...supportedExtensions].filter((extension) => !shown.has(extension))).toEqual([])
  })
})

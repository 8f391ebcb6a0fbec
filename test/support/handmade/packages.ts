import { compound } from './compound.ts'
import { handmade } from './small.ts'
import { office, selfNamed, zip } from './zip.ts'

const ooxml = 'vnd.openxmlformats-officedocument'
const odf = 'vnd.oasis.opendocument'

/** Formats of Office, the folder of their main part, and its type. */
const offices: readonly (readonly [format: string, folder: string, type: string])[] = [
  ['docx', 'word', `${ooxml}.wordprocessingml.document`],
  ['dotx', 'word', `${ooxml}.wordprocessingml.template`],
  ['docm', 'word', 'vnd.ms-word.document.macroEnabled'],
  ['dotm', 'word', 'vnd.ms-word.template.macroEnabledTemplate'],
  ['xlsx', 'xl', `${ooxml}.spreadsheetml.sheet`],
  ['xltx', 'xl', `${ooxml}.spreadsheetml.template`],
  ['xlsm', 'xl', 'vnd.ms-excel.sheet.macroEnabled'],
  ['xltm', 'xl', 'vnd.ms-excel.template.macroEnabled'],
  ['xlam', 'xl', 'vnd.ms-excel.addin.macroEnabled'],
  ['xlsb', 'xl', 'vnd.ms-excel.sheet.binary.macroEnabled'],
  ['pptx', 'ppt', `${ooxml}.presentationml.presentation`],
  ['potx', 'ppt', `${ooxml}.presentationml.template`],
  ['ppsx', 'ppt', `${ooxml}.presentationml.slideshow`],
  ['pptm', 'ppt', 'vnd.ms-powerpoint.presentation.macroEnabled'],
  ['potm', 'ppt', 'vnd.ms-powerpoint.template.macroEnabled'],
  ['ppsm', 'ppt', 'vnd.ms-powerpoint.slideshow.macroEnabled'],
  ['ppam', 'ppt', 'vnd.ms-powerpoint.addin.macroEnabled'],
  ['vsdx', 'visio', 'vnd.ms-visio.drawing'],
  ['vsdm', 'visio', 'vnd.ms-visio.drawing.macroEnabled'],
  ['vstx', 'visio', 'vnd.ms-visio.template'],
  ['vstm', 'visio', 'vnd.ms-visio.template.macroEnabled'],
  ['vssx', 'visio', 'vnd.ms-visio.stencil'],
  ['vssm', 'visio', 'vnd.ms-visio.stencil.macroEnabled'],
]
const selfNamers: readonly (readonly [format: string, type: string])[] = [
  ['epub', 'epub+zip'],
  ['odt', `${odf}.text`],
  ['ott', `${odf}.text-template`],
  ['ods', `${odf}.spreadsheet`],
  ['ots', `${odf}.spreadsheet-template`],
  ['odp', `${odf}.presentation`],
  ['otp', `${odf}.presentation-template`],
  ['odg', `${odf}.graphics`],
  ['otg', `${odf}.graphics-template`],
  ['odc', `${odf}.chart`],
  ['odf', `${odf}.formula`],
  ['odm', `${odf}.text-master`],
  ['odb', `${odf}.base`],
  ['sxw', 'vnd.sun.xml.writer'],
  ['sxc', 'vnd.sun.xml.calc'],
  ['sxi', 'vnd.sun.xml.impress'],
]
const made = (file: string): Uint8Array => handmade[file] ?? Buffer.alloc(0)
const manifest = ['META-INF/MANIFEST.MF', 'Manifest-Version: 1.0\n'] as const

/** One file of every format that a zip archive may turn out to be. */
export const packages: Readonly<Record<string, Uint8Array>> = {
  ...Object.fromEntries(
    offices.map(([format, folder, type]) => [format, office(`${folder}/main.xml`, `application/${type}.main+xml`)]),
  ),
  ...Object.fromEntries(selfNamers.map(([format, type]) => [format, selfNamed(`application/${type}`)])),
  zip: zip([['a.txt', 'a']]),
  jar: zip([manifest]),
  apk: zip([manifest, ['AndroidManifest.xml', '\x03\0\x08\0']]),
  xpi: zip([['META-INF/mozilla.rsa', '']]),
  '3mf': zip([['3D/3dmodel.model', '<model/>']]),
  kmz: made('map.kmz'),
  xps: made('paper.xps'),
  oxps: made('paper.oxps'),
  pages: made('letter.pages'),
  numbers: made('table.numbers'),
  key: made('slides.key'),
}

const classes: Readonly<Record<string, string>> = {
  msi: '84100c0000000000c000000000000046',
  mpp: '3a8fb774c8c8d111be1100c04fb6faf1',
}

/** One file of every format that a compound file may turn out to be without its name. */
export const compounds: Readonly<Record<string, Uint8Array>> = {
  doc: compound([{ name: 'WordDocument' }]),
  xls: compound([{ name: 'Workbook' }]),
  ppt: compound([{ name: 'PowerPoint Document' }]),
  vsd: compound([{ name: 'VisioDocument' }]),
  msg: compound([{ name: '__properties_version1.0' }]),
  pub: compound([{ name: 'Quill', within: [] }]),
  cfb: compound([{ name: 'Something' }]),
  ...Object.fromEntries(Object.entries(classes).map(([format, id]) => [format, compound([], 0, id)])),
}

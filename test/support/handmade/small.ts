import { compound, mailWithLetter, tableWithLetter } from './compound.ts'
import { ac3, brand, id3, movie, mpegFrames, track, windowsMedia, box } from './movies.ts'
import { bitmap, bitmapArray, oldIcon, pack, stl } from './pictures.ts'
import { contentTypes, iworkParts, noise, office, oldIwork, selfNamed, zip } from './zip.ts'

const pdf = '%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n'
const xps = 'http://schemas.microsoft.com/xps/2005/06/fixedrepresentation'
const sheet = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml'
const macroDrawing: readonly (readonly [string, string])[] = [
  ['[Content_Types].xml', '<Types/>'],
  ['visio/document.xml', '<x/>'],
  ['visio/vbaProject.bin', '\0'],
]
const paper = (relation: string): Buffer =>
  zip([
    ['_rels/.rels', `<Relationships><Relationship Type="${relation}" Target="/FixedDocSeq.fdseq"/></Relationships>`],
    ['FixedDocSeq.fdseq', '<FixedDocumentSequence/>'],
    [
      '[Content_Types].xml',
      contentTypes('FixedDocSeq.fdseq', 'application/vnd.ms-package.xps-fixeddocumentsequence+xml'),
    ],
  ])

/** Files of `test/samples/types/` that no program of today makes, or none that we have. */
export const handmade: Readonly<Record<string, Uint8Array>> = {
  'drawing.vsdm': zip(macroDrawing),
  'drawing.vsdx': office('visio/document.xml', 'application/vnd.ms-visio.drawing.main+xml'),
  'stencil.vssx': office('visio/document.xml', 'application/vnd.ms-visio.stencil.main+xml'),
  'addin.xlam': office('xl/workbook.xml', 'application/vnd.ms-excel.addin.macroEnabled.main+xml'),
  'lower.xlsx': zip([
    ['[content_types].xml', contentTypes('xl/workbook.xml', sheet)],
    ['xl/workbook.xml', '<x/>'],
  ]),
  'paper.xps': paper(xps),
  'paper.oxps': paper('http://schemas.openxps.org/oxps/v1.0/fixedrepresentation'),
  'letter-2009.pages': oldIwork('document', 'sl', 'sl'),
  'table-2009.numbers': oldIwork('document', 'ls', 'ls'),
  'slides-2009.key': oldIwork('presentation', 'key', 'keynote2', 'index.apxl'),
  'letter.pages': zip(iworkParts(10_000), true),
  'table.numbers': zip(iworkParts(1), true),
  'slides.key': zip(iworkParts(1, ['Index/Slide-123.iwa']), true),
  'nested.pages': zip([['preview.jpg', noise(99)], ['Index.zip', zip(iworkParts(10_000), true)]], true),
  'late.epub': zip([
    ['META-INF/container.xml', '<container/>'],
    ['content.opf', '<package/>'],
    ['mimetype', 'application/epub+zip'],
  ]),
  'map.kmz': zip([['files/pin.png', noise(99)], ['doc.kml', '<kml/>']]),
  'places.kmz': zip([['places.kml', '<kml/>']]),
  'text.sxw': selfNamed('application/vnd.sun.xml.writer'),
  'chart.odc': selfNamed('application/vnd.oasis.opendocument.chart'),

  'attached.msg': mailWithLetter(),
  'embedded.xls': tableWithLetter(),
  'sheets.doc': compound([{ name: 'ObjectPool', within: [{ name: '_1', within: [{ name: 'Workbook' }] }] }, { name: 'WordDocument' }]),
  'letter-2.doc': pack('\xdb\xa5\x2d\0\0\0\x09\x04', Buffer.alloc(120)),
  'letter.wri': pack('\x31\xbe\0\0\0\xab', Buffer.alloc(122)),
  'table-2.xls': pack('\x09\0\x04\0\x02\0\x10\0', Buffer.alloc(40)),
  'table-3.xls': pack('\x09\x02\x06\0\0\0\x10\0\0\0', Buffer.alloc(40)),
  'table-4.xls': pack('\x09\x04\x06\0\0\0\x10\0\0\0', Buffer.alloc(40)),
  'table-5.xls': pack('\x09\x08\x08\0\0\x05\x10\0\0\0\0\0', Buffer.alloc(40)),

  'windows-3.ico': oldIcon(),
  'os2.bmp': bitmap(12),
  'os2-short.bmp': bitmap(24),
  'os2-array.bmp': bitmapArray('BM'),
  'os2.ico': bitmap(12, 'CI'),
  'drawing.wmf': pack('\x01\0\x09\0\0\x03', ['u32', 12], ['u16', 0], ['u32', 3], ['u16', 0], ['u32', 3], ['u16', 0]),
  'placed.wmf': pack('\xd7\xcd\xc6\x9a\0\0', Buffer.alloc(16), '\x01\0\x09\0\0\x03', Buffer.alloc(12)),
  'drawing.emf': pack(['u32', 1], ['u32', 108], Buffer.alloc(32), ' EMF', ['u32', 0x10000], Buffer.alloc(60)),
  'mini.avif': Buffer.concat([box('ftyp', Buffer.from('mif3avif')), box('mini', Buffer.alloc(20))]),
  'jpeg2000.heif': Buffer.concat([brand('j2ki', 'mif1'), box('meta', Buffer.alloc(20))]),
  'generic.heic': Buffer.concat([brand('mif1', 'miaf'), box('meta', Buffer.alloc(20))]),
  'shape.stl': Buffer.from('solid made by hand\n  facet normal 0 0 1\n    outer loop\n      vertex 0 0 0\n      vertex 1 0 0\n      vertex 0 1 0\n    endloop\n  endfacet\nendsolid\n'),
  'binary.stl': stl(2),
  'solid.stl': stl(1, 'solid by a program that writes this first'),

  'phone.m4a': Buffer.concat([brand('isom', 'mp42'), box('mdat', noise(300)), movie(track('soun'))]),
  'book.m4b': Buffer.concat([brand('mp42', 'isom'), box('free', Buffer.alloc(8)), box('mdat', noise(300)), movie(track('soun'), track('text'))]),
  'phone.mp4': Buffer.concat([brand('3gp5', 'isom'), movie(track('vide'), track('soun')), box('mdat', noise(99))]),
  'sound-first.wmv': windowsMedia(['sound', 'film']),
  'two-sounds.wma': windowsMedia(['sound', 'sound']),
  'studio.wav': pack('RF64\xff\xff\xff\xffWAVEds64', ['u32', 28], Buffer.alloc(28), 'fmt ', ['u32', 16], ['u16', 1], ['u16', 1], ['u32', 8_000], ['u32', 16_000], ['u16', 2], ['u16', 16], 'data\xff\xff\xff\xff', Buffer.alloc(64)),
  'tagged.ac3': Buffer.concat([id3(30), ac3, ac3]),
  'padded.mp3': Buffer.concat([Buffer.alloc(200), mpegFrames]),

  'printed.pdf': Buffer.from(`@PJL SET COPIES=1\r\n@PJL ENTER LANGUAGE=PDF\r\n${pdf}`),
  'wrapped.pdf': Buffer.concat([Buffer.from('\0\x0bprinted.pdf'), Buffer.alloc(115), Buffer.from(pdf), noise(40)]),
  'cyrillic.txt': Buffer.from('cff0e8e2e5f22c20ece8f021', 'hex'), // "Привет, мир!"
  'chinese.txt': Buffer.from('c4e3bac3a3acd6d0b9fac8cba1a3', 'hex'), // a greeting in GBK
  'japanese.txt': Buffer.from('82b182f182c982bf82cd81418ca38cb48142', 'hex'), // a greeting in Shift_JIS
} // prettier-ignore

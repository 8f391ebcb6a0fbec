import { mailWithLetter, tableWithLetter } from './compound.ts'
import { ac3, adts, box, brand, id3, movie, mpegFrames, track, windowsMedia } from './movies.ts'
import { contentTypes, iworkParts, noise, zip, type ZipEntry } from './zip.ts'

/** More than the first bytes that a plugin sees. */
const far = 70_000
const sectors = Math.ceil(far / 512)
const picture: ZipEntry = ['Data/picture.jpg', noise(far)]
const flac = Buffer.concat([Buffer.from('fLaC\0\0\0\x22'), noise(60)])

export interface Large {
  readonly bytes: Uint8Array
  readonly contentType: string
  readonly format: string
}

const large = (contentType: string, format: string, ...parts: readonly Uint8Array[]): Large => ({
  bytes: Buffer.concat(parts),
  contentType,
  format,
})
const apple = 'application/vnd.apple'
const docm = 'application/vnd.ms-word.document.macroenabled.12'
const m4a = ['audio/mp4', 'm4a'] as const
const metadata = box('udta', noise(far))

/** Files whose telling part lies behind the first bytes, by what is special about them. */
export const largeFiles: Readonly<Record<string, Large>> = {
  'a book, mimetype last': large('application/epub+zip', 'epub', zip([['OEBPS/cover.jpg', noise(far)], ['META-INF/container.xml', '<x/>'], ['mimetype', 'application/epub+zip']])),
  'a map, pictures first': large('application/vnd.google-earth.kmz', 'kmz', zip([['files/a.png', noise(far)], ['doc.kml', '<kml/>']])),
  'Pages, pictures first': large(`${apple}.pages`, 'pages', zip([picture, ...iworkParts(10_000)], true)),
  'Numbers, pictures first': large(`${apple}.numbers`, 'numbers', zip([picture, ...iworkParts(1)], true)),
  'Keynote, slides last': large(`${apple}.keynote`, 'key', zip([...iworkParts(1), picture, ['Index/Slide.iwa', '']], true)),
  'a program for Android, a library at first sight': large('application/vnd.android.package-archive', 'apk', zip([['META-INF/MANIFEST.MF', ''], ['res/a.png', noise(far)], ['AndroidManifest.xml', '\x03\0\x08\0']])),
  'a letter, its macros last': large(docm, 'docm', zip([['word/document.xml', '<x/>'], ['word/media/a.png', noise(far)], ['word/vbaProject.bin', '\0'], ['[Content_Types].xml', contentTypes('word/document.xml', 'application/vnd.ms-word.document.macroEnabled.main+xml')]])),
  'an archive of anything': large('application/zip', 'zip', zip([['a.bin', noise(far)], ['b.txt', 'b']])),
  'a mail with a letter, its directory last': large('application/vnd.ms-outlook', 'msg', mailWithLetter(sectors)),
  'a table with a letter, its directory last': large('application/vnd.ms-excel', 'xls', tableWithLetter(sectors)),
  'a table of many megabytes, its directory last': large('application/vnd.ms-excel', 'xls', tableWithLetter(32_000)),
  'a mail with many attachments': large('application/vnd.ms-outlook', 'msg', mailWithLetter(sectors, 600)),
  'sound of brand isom, index last': large(...m4a, brand('isom', 'mp42'), box('mdat', noise(far)), movie(track('soun'))),
  'sound of brand mp42, a long index': large(...m4a, brand('mp42', 'isom'), movie(track('soun', [metadata]), track('text'), metadata), box('mdat', noise(40))),
  'a film, index last': large('video/mp4', 'mp4', brand('isom'), box('mdat', noise(far)), movie(track('soun', [metadata]), track('vide'))),
  'FLAC behind a long tag': large('audio/flac', 'flac', id3(far), flac),
  'FLAC behind two tags': large('audio/flac', 'flac', id3(40_000), id3(40_000), flac),
  'AAC behind a long tag': large('audio/aac', 'aac', id3(far), adts),
  'AC-3 behind a long tag': large('audio/vnd.dolby.dd-raw', 'ac3', id3(far), ac3, ac3),
  'MP3 behind a long tag': large('audio/mpeg', 'mp3', id3(far), mpegFrames),
  'a film of Windows behind a cover': large('video/x-ms-asf', 'asf', windowsMedia(['sound', 'film'], far)),
  'a sound of Windows behind a cover': large('audio/x-ms-wma', 'wma', windowsMedia(['sound'], far)),
} // prettier-ignore

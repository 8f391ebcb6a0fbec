/** One upload of a sample file: what it is called and declared as, and what it is. */
export interface Sample {
  /** Below `test/samples/types/`. */
  readonly file: string
  readonly name: string
  readonly declared: string | null
  readonly contentType: string
  readonly format: string | null
  readonly charset: string | null
}

const office = 'application/vnd.openxmlformats-officedocument'
const odf = 'application/vnd.oasis.opendocument'
const docx = `${office}.wordprocessingml.document docx`
const xlsx = `${office}.spreadsheetml.sheet xlsx`
const pptx = `${office}.presentationml.presentation pptx`
const unknown = 'application/octet-stream'
const text = 'text/plain txt utf-8'
const html = 'text/html html utf-8'
const svg = 'image/svg+xml svg utf-8'

/** File, what the bytes are (type, format, charset), and where they differ from the file's: the name and the declared type. */
type Row = readonly [file: string, expected: string, name?: string, declared?: string]

/** Files that are what they are called. */
const honest: readonly Row[] = [
  ['photo.jpg', 'image/jpeg jpeg', 'photo.jpg', 'image/jpeg'],
  ['picture.png', 'image/png png', 'picture.png', 'image/png'],
  ['animation.gif', 'image/gif gif', 'animation.gif', 'image/gif'],
  ['picture.webp', 'image/webp webp'],
  ['picture.avif', 'image/avif avif', 'picture.avif', 'image/avif'],
  ['picture.heic', 'image/heic heic', 'IMG_0001.HEIC', 'image/heic'],
  ['picture.bmp', 'image/bmp bmp', 'picture.bmp', 'image/x-ms-bmp'],
  ['late-index.tiff', 'image/tiff tiff', 'scan.tif', 'image/tiff'],
  ['later-index.tiff', 'image/tiff tiff'],
  ['icon.ico', 'image/x-icon ico', 'favicon.ico', 'image/vnd.microsoft.icon'],
  ['picture.psd', 'image/vnd.adobe.photoshop psd'],
  ['film.mp4', 'video/mp4 mp4', 'film.mp4', 'video/mp4'],
  ['film.mov', 'video/quicktime mov', 'film.mov', 'video/quicktime'],
  ['film.webm', 'video/webm webm', 'film.webm', 'video/webm'],
  ['film.mkv', 'video/x-matroska mkv', 'film.mkv', 'video/x-matroska'],
  ['film.avi', 'video/x-msvideo avi', 'film.avi', 'video/avi'],
  ['film.mpegts', 'video/mp2t mpegts', 'film.ts', 'video/mp2t'],
  ['film.mpg', 'video/mpeg mpeg'],
  ['film.flv', 'video/x-flv flv'],
  ['film.3gp', 'video/3gpp 3gp', 'film.3gp', 'audio/3gpp'],
  ['sound.m4a', 'audio/mp4 m4a', 'sound.m4a', 'audio/x-m4a'],
  ['sound.mp4', 'audio/mp4 m4a', 'sound.mp4', 'audio/mp4'],
  ['voice.webm', 'audio/webm webm', 'voice.webm', 'audio/webm; codecs=opus'],
  ['tagged.mp3', 'audio/mpeg mp3', 'song.mp3', 'audio/mp3'],
  ['untagged.mp3', 'audio/mpeg mp3', 'song.mp3', 'audio/mpeg'],
  ['sound.wav', 'audio/wav wav', 'sound.wav', 'audio/x-wav'],
  ['sound.flac', 'audio/flac flac', 'sound.flac', 'audio/x-flac'],
  ['sound.ogg', 'audio/ogg ogg', 'sound.ogg', 'application/ogg'],
  ['sound.opus', 'audio/ogg opus', 'sound.opus', 'audio/ogg; codecs=opus'],
  ['sound.aac', 'audio/aac aac', 'sound.aac', 'audio/aac'],
  ['sound.aiff', 'audio/aiff aiff'],
  ['sound.wma', 'audio/x-ms-wma wma', 'sound.wma', 'audio/x-ms-wma'],

  ['report.docx', docx, 'report.docx', `${office}.wordprocessingml.document`],
  [
    'macros.docm',
    'application/vnd.ms-word.document.macroenabled.12 docm',
    'a.docm',
    'application/vnd.ms-word.document.macroEnabled.12',
  ],
  ['types-last.docx', docx],
  ['sheet.xlsx', xlsx],
  ['streamed.xlsx', xlsx],
  ['slides.pptx', pptx],
  ['far-types.pptx', pptx],
  ['text.odt', `${odf}.text odt`],
  ['sheet.ods', `${odf}.spreadsheet ods`],
  ['slides.odp', `${odf}.presentation odp`],
  ['book.epub', 'application/epub+zip epub', 'book.epub', 'application/epub+zip'],
  ['library.jar', 'application/java-archive jar'],
  ['app.apk', 'application/vnd.android.package-archive apk'],
  ['plain.zip', 'application/zip zip', 'plain.zip', 'application/x-zip-compressed'],
  ['empty.zip', 'application/zip zip'],
  ['letter.doc', 'application/msword doc', 'letter.doc', 'application/msword'],
  ['table.xls', 'application/vnd.ms-excel xls'],
  ['slides.ppt', 'application/vnd.ms-powerpoint ppt'],
  ['mail.msg', 'application/vnd.ms-outlook msg'],
  ['setup.msi', 'application/x-msi msi'],
  ['far-directory.doc', 'application/msword doc'],
  ['encrypted.docx', docx],
  ['ascii.pdf', 'application/pdf pdf', 'ascii.pdf', 'application/pdf'],
  ['binary.pdf', 'application/pdf pdf'],
  ['indented.pdf', 'application/pdf pdf'],
  ['note.rtf', 'application/rtf rtf', 'note.rtf', 'text/rtf'],
  ['drawing.eps', 'application/eps eps'],

  ['files.tar', 'application/x-tar tar'],
  ['files.tar.gz', 'application/gzip gz', 'files.tar.gz', 'application/x-gzip'],
  ['plain.bz2', 'application/x-bzip2 bz2'],
  ['plain.xz', 'application/x-xz xz'],
  ['plain.zst', 'application/zstd zst'],
  ['plain.lz4', 'application/x-lz4 lz4'],
  ['files.7z', 'application/x-7z-compressed 7z'],
  ['files.rar', 'application/vnd.rar rar', 'files.rar', 'application/x-rar-compressed'],
  ['disc.iso', 'application/x-iso9660-image iso'],
  ['program.exe', 'application/x-msdownload exe'],
  ['program.elf', 'application/x-elf elf', 'program', unknown],
  ['A.class', 'application/java-vm class'],
  ['module.wasm', 'application/wasm wasm', 'module.wasm', 'application/wasm'],
  ['film.swf', 'application/x-shockwave-flash swf'],
  ['data.sqlite', 'application/x-sqlite3 sqlite'],

  ['shape.svg', svg, 'shape.svg', 'image/svg+xml'],
  ['prolog.svg', svg],
  ['wide.svg', 'image/svg+xml svg utf-16le'],
  ['unmarked.svg', 'image/svg+xml svg utf-16be'],
  ['prefixed.svg', svg],
  ['script.svg', svg],
  ['page.html', html, 'page.html', 'text/html; charset=utf-8'],
  ['commented.html', html, 'commented.htm'],
  ['fragment.html', html],
  ['page.xhtml', 'application/xhtml+xml xhtml utf-8'],
  ['cyrillic.html', 'text/html html windows-1251'],
  ['note.xml', 'application/xml xml utf-8', 'note.xml', 'text/xml'],
  ['undeclared.xml', 'application/xml xml utf-8'],
  ['feed.rss', 'application/rss+xml rss utf-8', 'feed.rss', 'application/xml'],

  ['plain.txt', text, 'plain.txt', 'text/plain'],
  ['umlaut.txt', text],
  ['bom.txt', text],
  ['utf16le.txt', 'text/plain txt utf-16le'],
  ['utf16be.txt', 'text/plain txt utf-16be'],
  ['latin1.txt', 'text/plain txt windows-1252'],
  ['short-latin1.txt', 'text/plain txt windows-1252'],
  ['quotes1252.txt', 'text/plain txt windows-1252'],
  ['shift-jis.txt', 'text/plain txt'],
  ['cut.txt', text],
  ['long.txt', text],
  ['table.csv', 'text/csv csv utf-8', 'table.csv', 'application/vnd.ms-excel'],
  ['table.tsv', 'text/tab-separated-values tsv utf-8'],
  ['data.json', 'application/json json utf-8', 'data.json', 'application/json'],
  ['lines.ndjson', 'application/x-ndjson ndjson utf-8'],
  ['readme.md', 'text/markdown md utf-8', 'README.md', 'text/plain'],
  ['badge.md', 'text/markdown md utf-8'],
  ['conf.yaml', 'application/yaml yaml utf-8', 'conf.yml', 'text/x-yaml'],
  ['conf.toml', 'application/toml toml utf-8'],
  ['conf.ini', 'text/plain ini utf-8'],
  ['style.css', 'text/css css utf-8'],
  ['code.js', 'text/javascript js utf-8', 'code.mjs', 'application/javascript'],
  ['code.ts', 'text/typescript ts utf-8', 'code.ts', 'text/plain'],
  ['code.py', 'text/x-python py utf-8', 'script.py', 'text/x-python'],
  ['tool', 'application/x-sh sh utf-8'],
  ['query.sql', 'application/sql sql utf-8'],
  ['subtitles.vtt', 'text/vtt vtt utf-8'],
  ['event.ics', 'text/calendar ics utf-8'],
  ['person.vcf', 'text/vcard vcf utf-8'],
  ['mz.txt', text],
  ['free.txt', text],
  ['cyrillic.txt', 'text/plain txt', 'cyrillic.txt', 'text/plain'],
  ['chinese.txt', 'text/plain txt'],
  ['japanese.txt', 'text/plain txt'],
]

const visio = 'application/vnd.ms-visio'
const apple = 'application/vnd.apple'
const word = 'application/msword doc'
const excel = 'application/vnd.ms-excel xls'
const icon = 'image/x-icon ico'
const bitmap = 'image/bmp bmp'

/** Files that are what they are called, of kinds that are rarely met; `make-handmade.ts` writes them. */
const rare: readonly Row[] = [
  ['drawing.vsdm', `${visio}.drawing.macroenabled.12 vsdm`, 'a.vsdm', `${visio}.drawing.macroEnabled.12`],
  ['drawing.vsdx', `${visio}.drawing vsdx`, 'drawing.vsdx', 'application/vnd.visio'],
  ['stencil.vssx', `${visio}.stencil vssx`],
  ['addin.xlam', 'application/vnd.ms-excel.addin.macroenabled.12 xlam'],
  ['lower.xlsx', xlsx],
  ['paper.xps', 'application/vnd.ms-xpsdocument xps'],
  ['paper.oxps', 'application/oxps oxps', 'paper.oxps', 'application/vnd.ms-xpsdocument'],
  ['letter-2009.pages', `${apple}.pages pages`, 'letter.pages', 'application/x-iwork-pages-sffpages'],
  ['table-2009.numbers', `${apple}.numbers numbers`, 'table.numbers', 'application/x-iwork-numbers-sffnumbers'],
  ['slides-2009.key', `${apple}.keynote key`, 'slides.key', 'application/x-iwork-keynote-sffkey'],
  ['letter.pages', `${apple}.pages pages`],
  ['table.numbers', `${apple}.numbers numbers`],
  ['slides.key', `${apple}.keynote key`],
  ['nested.pages', `${apple}.pages pages`, 'nested.pages', 'application/zip'],
  ['late.epub', 'application/epub+zip epub'],
  ['map.kmz', 'application/vnd.google-earth.kmz kmz'],
  ['places.kmz', 'application/vnd.google-earth.kmz kmz'],
  ['text.sxw', 'application/vnd.sun.xml.writer sxw'],
  ['chart.odc', `${odf}.chart odc`],
  ['attached.msg', 'application/vnd.ms-outlook msg'],
  ['embedded.xls', excel],
  ['sheets.doc', word],
  ['letter-2.doc', word],
  ['letter.wri', word, 'letter.doc'],
  ['table-2.xls', excel],
  ['table-3.xls', excel],
  ['table-4.xls', excel],
  ['table-5.xls', excel],
  ['windows-3.ico', icon],
  ['os2.ico', icon],
  ['os2.bmp', bitmap],
  ['os2-short.bmp', bitmap],
  ['os2-array.bmp', bitmap],
  ['drawing.wmf', 'image/wmf wmf', 'drawing.wmf', 'application/x-msmetafile'],
  ['placed.wmf', 'image/wmf wmf'],
  ['drawing.emf', 'image/emf emf', 'drawing.emf', 'image/x-emf'],
  ['mini.avif', 'image/avif avif'],
  ['jpeg2000.heif', 'image/heif heif'],
  ['generic.heic', 'image/heif heif', 'generic.heif', 'image/heic'],
  ['shape.stl', 'model/stl stl', 'shape.stl', 'model/x.stl-ascii'],
  ['binary.stl', 'model/stl stl', 'binary.stl', 'application/sla'],
  ['solid.stl', 'model/stl stl'],
  ['phone.m4a', 'audio/mp4 m4a'],
  ['book.m4b', 'audio/mp4 m4a', 'book.m4b', 'audio/x-m4b'],
  ['sound-first.wmv', 'video/x-ms-asf asf', 'film.asf', 'video/x-ms-wmv'],
  ['two-sounds.wma', 'audio/x-ms-wma wma'],
  ['studio.wav', 'audio/wav wav'],
  ['tagged.ac3', 'audio/vnd.dolby.dd-raw ac3', 'tagged.ac3', 'audio/ac3'],
  ['padded.mp3', 'audio/mpeg mp3'],
  ['printed.pdf', 'application/pdf pdf'],
  ['wrapped.pdf', 'application/pdf pdf'],
]

/** Files that lie, are two things at once, or nothing known. */
const dishonest: readonly Row[] = [
  ['photo.jpg', 'image/jpeg jpeg', 'photo.png', 'image/png'],
  ['picture.png', 'image/png png', 'picture', 'image/jpeg'],
  ['photo.jpg', 'image/jpeg jpeg', 'photo.txt', 'text/plain'],
  ['binary.pdf', 'application/pdf pdf', 'picture.jpg', 'image/jpeg'],
  ['film.mpegts', 'video/mp2t mpegts', 'code.ts', 'text/typescript'],
  ['code.ts', 'text/typescript ts utf-8', 'film.ts', 'video/mp2t'],
  ['film.webm', 'video/webm webm', 'film.mp4', 'video/mp4'],
  ['sound.m4a', 'audio/mp4 m4a', 'sound.mp3', 'audio/mpeg'],
  ['page.html', html, 'picture.png', 'image/png'],
  ['page.html', html, 'notes.txt', 'text/plain'],
  ['page.html', html, 'data.json', 'application/json'],
  ['fragment.html', html, 'notes.txt', 'text/plain'],
  ['commented.html', html, 'data.csv', 'text/csv'],
  ['script.svg', svg, 'photo.jpg', 'image/jpeg'],
  ['script.svg', svg, 'notes.md', 'text/markdown'],
  ['script.svgz', 'application/gzip gz', 'photo.jpg', 'image/jpeg'],
  ['zeros.html', 'text/html html', 'photo.jpg', 'image/jpeg'],
  ['program.exe', 'application/x-msdownload exe', 'invoice.pdf', 'application/pdf'],
  ['program.elf', 'application/x-elf elf', 'script.py', 'text/x-python'],
  ['plain.zip', 'application/zip zip', 'report.odt', `${odf}.text`],
  ['plain.zip', 'application/zip zip', 'report.docx', `${office}.wordprocessingml.document`],
  ['report.docx', docx, 'report.zip', 'application/zip'],
  ['types-last.docx', docx, 'upload', unknown],
  ['far-types.pptx', pptx, 'upload', unknown],
  [
    'macros.docm',
    'application/vnd.ms-word.document.macroenabled.12 docm',
    'report.docx',
    `${office}.wordprocessingml.document`,
  ],
  ['app.apk', 'application/vnd.android.package-archive apk', 'photo.zip', 'application/zip'],
  ['far-directory.doc', 'application/x-cfb cfb', 'photo.jpg', 'image/jpeg'],
  ['letter.doc', 'application/msword doc', 'table.xls', 'application/vnd.ms-excel'],
  ['bomb.docx', 'application/zip zip', 'bomb.zip', 'application/zip'],
  ['claims.zip', 'application/zip zip'],
  ['gifar.gif', 'image/gif gif', 'library.jar', 'application/java-archive'],
  ['jpeg-zip.jpg', 'image/jpeg jpeg', 'files.zip', 'application/zip'],
  ['gif-script.gif', text, 'gif-script.gif', 'image/gif'],
  ['gif-page.gif', unknown, 'gif-page.gif', 'image/gif'],
  ['html-pdf.pdf', html, 'html-pdf.pdf', 'application/pdf'],
  ['bmp-script.bmp', unknown, 'bmp-script.bmp', 'image/bmp'],
  ['not.json', text, 'not.json', 'application/json'],
  ['data.json', 'application/json json utf-8', 'photo.jpg', 'image/jpeg'],
  ['plain.txt', text, 'picture.png', 'image/png'],
  ['plain.txt', text, 'shape.svg', 'image/svg+xml'],
  ['table.csv', 'text/csv csv utf-8', 'data', 'text/csv'],
  ['random.bin', unknown, 'photo.jpg', 'image/jpeg'],
  ['random.bin', unknown, 'code.py', 'text/x-python'],
  ['zeros.bin', unknown, 'film.mp4', 'video/mp4'],
  ['one-zero.bin', unknown],
  ['one-letter.txt', text],
  ['one-high.bin', unknown, 'one.txt', 'text/plain'],
  ['drawing.vsdm', `${visio}.drawing.macroenabled.12 vsdm`, 'photo.jpg', 'image/jpeg'],
  ['letter.pages', `${apple}.pages pages`, 'letter.numbers', `${apple}.numbers`],
  ['attached.msg', 'application/vnd.ms-outlook msg', 'letter.doc', 'application/msword'],
  ['embedded.xls', excel, 'letter.doc', 'application/msword'],
  ['embedded.xls', excel, 'upload', unknown],
  ['cyrillic.txt', 'text/plain txt', 'photo.jpg', 'image/jpeg'],
  ['sync.bin', unknown, 'sync.bin', unknown],
  ['zlib.bin', unknown],
  ['empty', unknown],
  ['empty', unknown, 'photo.jpg', 'image/jpeg'],
  ['empty', 'text/plain txt', 'notes.txt', 'text/plain'],
  ['empty', 'text/csv csv', 'table.csv'],
  ['empty', 'text/plain txt', 'data.json', 'application/json'],
]

const toSample = ([file, expected, name = file, declared]: Row): Sample => {
  const [contentType = unknown, format = null, charset = null] = expected.split(' ')
  return { file, name, declared: declared ?? null, contentType, format, charset }
}

export const honestSamples: readonly Sample[] = [...honest, ...rare].map(toSample)
export const dishonestSamples: readonly Sample[] = dishonest.map(toSample)
export const samples: readonly Sample[] = [...honestSamples, ...dishonestSamples]

export const samplePath = (sample: Pick<Sample, 'file'>): string =>
  new URL(`../samples/types/${sample.file}`, import.meta.url).pathname

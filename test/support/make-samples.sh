#!/usr/bin/env bash
# Makes test/samples/types/: one small file of each type, and files that lie about theirs.
# Needs bash, python3, ffmpeg, ImageMagick, heif-enc (libheif-examples), bzip2, xz, zstd, lz4. The results are committed.
set -euo pipefail
cd "$(dirname "$0")/../samples/types"
rm -f -- *

av() { ffmpeg -v error -y -fflags +bitexact "$@"; }
picture=(-f lavfi -i 'testsrc=size=64x48:rate=5:duration=1')
sound=(-f lavfi -i 'sine=frequency=440:duration=0.5')
exact=(-flags +bitexact -fflags +bitexact -map_metadata -1)

# pictures
convert -size 40x30 plasma:red-blue -strip photo.jpg
convert -size 40x30 gradient:red-blue -strip picture.png
convert -delay 10 -size 20x20 xc:red xc:blue -loop 0 animation.gif
convert photo.jpg picture.webp
convert photo.jpg -compress none picture.bmp
convert photo.jpg late-index.tiff
convert -size 200x150 plasma: -depth 8 -compress none later-index.tiff
convert -size 16x16 xc:green icon.ico
convert photo.jpg picture.psd
convert -size 64x64 plasma:red-blue even.png
heif-enc -q 40 even.png -o picture.heic >/dev/null 2>&1
av "${picture[@]}" "${exact[@]}" -frames:v 1 -c:v libaom-av1 -still-picture 1 picture.avif
rm even.png

# films and sounds
av "${picture[@]}" "${exact[@]}" -c:v libx264 -pix_fmt yuv420p -movflags +faststart film.mp4
av "${picture[@]}" "${exact[@]}" -c:v libx264 -pix_fmt yuv420p film.mov
av "${picture[@]}" "${exact[@]}" -c:v libvpx film.webm
av "${picture[@]}" "${exact[@]}" -c:v libx264 -pix_fmt yuv420p film.mkv
av "${picture[@]}" "${exact[@]}" -c:v mpeg4 film.avi
av "${picture[@]}" "${exact[@]}" -c:v libx264 -pix_fmt yuv420p -f mpegts film.mpegts
av "${picture[@]}" "${exact[@]}" -r 25 -c:v mpeg2video -f vob film.mpg
av "${picture[@]}" "${exact[@]}" -c:v flv film.flv
av "${picture[@]}" "${exact[@]}" -c:v libx264 -pix_fmt yuv420p film.3gp
av "${sound[@]}" "${exact[@]}" -c:a aac -b:a 32k sound.m4a
av "${sound[@]}" "${exact[@]}" -c:a aac -b:a 32k -movflags +faststart -f mp4 sound.mp4
av "${sound[@]}" "${exact[@]}" -c:a libopus -b:a 16k voice.webm
av "${sound[@]}" "${exact[@]}" -c:a libmp3lame -b:a 32k tagged.mp3
av "${sound[@]}" "${exact[@]}" -c:a libmp3lame -b:a 32k -id3v2_version 0 -write_xing 0 untagged.mp3
av "${sound[@]}" "${exact[@]}" -ar 8000 sound.wav
av "${sound[@]}" "${exact[@]}" -ar 8000 sound.flac
av "${sound[@]}" "${exact[@]}" -c:a libvorbis -q:a 0 sound.ogg
av "${sound[@]}" "${exact[@]}" -c:a libopus -b:a 16k sound.opus
av "${sound[@]}" "${exact[@]}" -c:a aac -b:a 32k sound.aac
av "${sound[@]}" "${exact[@]}" -ar 8000 sound.aiff
av "${sound[@]}" "${exact[@]}" -c:a wmav2 -b:a 32k sound.wma

python3 - <<'PYTHON'
import io, random, struct, tarfile, zipfile

random.seed(7)

def save(name, content):
    with open(name, 'wb') as file:
        file.write(content.encode() if isinstance(content, str) else content)

def pack(entries, first_stored=False, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as archive:
        for index, (name, content) in enumerate(entries):
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if index == 0 and first_stored else method
            archive.writestr(info, content)
    return out.getvalue()

class Pipe(io.RawIOBase):
    """A stream that cannot seek: sizes follow the data."""
    def __init__(self): self.content = b''
    def writable(self): return True
    def write(self, piece): self.content += bytes(piece); return len(piece)

# Office packages
office = 'application/vnd.openxmlformats-officedocument.'
def content_types(part, main):
    return ('<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/{part}" ContentType="{main}.main+xml"/></Types>')
def package(part, main, types_last=False, extra=()):
    types = ('[Content_Types].xml', content_types(part, main))
    rest = [('_rels/.rels', '<Relationships/>'), (part, '<document/>'), *extra]
    return pack(rest + [types] if types_last else [types] + rest)

save('report.docx', package('word/document.xml', office + 'wordprocessingml.document'))
save('macros.docm', package('word/document.xml', 'application/vnd.ms-word.document.macroEnabled', extra=[('word/vbaProject.bin', b'\0')]))
save('types-last.docx', package('word/document.xml', office + 'wordprocessingml.document', types_last=True))
save('sheet.xlsx', package('xl/workbook.xml', office + 'spreadsheetml.sheet'))
save('slides.pptx', package('ppt/presentation.xml', office + 'presentationml.presentation'))
noise = random.randbytes(70_000)
save('far-types.pptx', pack([('ppt/theme/theme1.xml', '<theme/>'), ('ppt/media/image1.png', noise),
                             ('[Content_Types].xml', content_types('ppt/presentation.xml', office + 'presentationml.presentation'))]))
streamed = Pipe()
with zipfile.ZipFile(streamed, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, content in [('[Content_Types].xml', content_types('xl/workbook.xml', office + 'spreadsheetml.sheet')), ('xl/workbook.xml', '<x/>')]:
        with archive.open(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), 'w') as entry:
            entry.write(content.encode())
save('streamed.xlsx', streamed.content)
odf = 'application/vnd.oasis.opendocument.'
for name, kind in [('text.odt', 'text'), ('sheet.ods', 'spreadsheet'), ('slides.odp', 'presentation')]:
    save(name, pack([('mimetype', odf + kind), ('content.xml', '<office/>')], first_stored=True))
save('book.epub', pack([('mimetype', 'application/epub+zip'), ('META-INF/container.xml', '<container/>')], first_stored=True))
manifest = ('META-INF/MANIFEST.MF', 'Manifest-Version: 1.0\n')
save('library.jar', pack([manifest, ('A.class', b'\xca\xfe\xba\xbe\0\0\0\x34')]))
save('app.apk', pack([manifest, ('AndroidManifest.xml', b'\3\0\x08\0'), ('classes.dex', b'dex\n035\0')]))
plain = pack([('word/notes.txt', 'notes'), ('readme.txt', 'read me')])
save('plain.zip', plain)
save('empty.zip', pack([]))
bomb = pack([('[Content_Types].xml', b' ' * 40_000_000)])
save('bomb.docx', bomb)
save('claims.zip', b'PK\3\4' + struct.pack('<HHHHHIIIHH', 20, 0, 8, 0, 0, 0, 0xfffffffe, 0xfffffffe, 8, 0xffff) + b'mimetype' + b'\xff' * 40)

# OLE2: a header, and the directory in the sector that follows
def directory_entry(name, kind, clsid=bytes(16)):
    text = name.encode('utf-16le') + b'\0\0'
    return text.ljust(64, b'\0') + struct.pack('<HBB', len(text), kind, 1) + b'\xff' * 12 + clsid + bytes(32)
def compound(streams, clsid=bytes(16), directory=True):
    header = b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(16) + struct.pack('<HHHHH', 0x3e, 3, 0xfffe, 9, 6)
    header = header.ljust(48, b'\0') + struct.pack('<I', 0)
    body = directory_entry('Root Entry', 5, clsid) + b''.join(directory_entry(s, 2) for s in streams) if directory else b''
    return header.ljust(512, b'\0') + body.ljust(1024, b'\0')
save('letter.doc', compound(['WordDocument', '1Table']))
save('table.xls', compound(['Workbook']))
save('slides.ppt', compound(['PowerPoint Document', 'Current User']))
save('mail.msg', compound(['__properties_version1.0']))
save('setup.msi', compound([], bytes.fromhex('84100c0000000000c000000000000046')))
save('far-directory.doc', compound([], directory=False))
save('encrypted.docx', compound(['EncryptedPackage', 'EncryptionInfo']))

# documents
pdf = '%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n'
save('ascii.pdf', pdf)
save('binary.pdf', b'%PDF-1.7\n%\xe2\xe3\xcf\xd3\n' + random.randbytes(400) + b'\n%%EOF\n')
save('indented.pdf', b'\xef\xbb\xbf\r\n' + b'%PDF-1.7\n%\xe2\xe3\xcf\xd3\n' + random.randbytes(100))
save('note.rtf', r'{\rtf1\ansi Hello \b world\b0.}')
save('drawing.eps', '%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n')

# archives
out = io.BytesIO()
with tarfile.open(fileobj=out, mode='w', format=tarfile.USTAR_FORMAT) as archive:
    info = tarfile.TarInfo('a.txt'); info.size = 5
    archive.addfile(info, io.BytesIO(b'hello'))
save('files.tar', out.getvalue()[:2048])
save('files.7z', b"7z\xbc\xaf\x27\x1c\0\4" + random.randbytes(24))
save('files.rar', b'Rar!\x1a\7\1\0' + random.randbytes(24))
iso = bytearray(36_864)
iso[32_768:32_775] = b'\1CD001\1'
save('disc.iso', bytes(iso))

# programs, and others that are not media
save('program.exe', b'MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0'.ljust(60, b'\0') + struct.pack('<I', 64) + b'PE\0\0' + bytes(60))
save('program.elf', b'\x7fELF\2\1\1' + bytes(57))
save('A.class', b'\xca\xfe\xba\xbe\0\0\0\x34' + bytes(16))
save('module.wasm', b'\0asm\1\0\0\0')
save('film.swf', b'FWS\x06' + struct.pack('<I', 40) + bytes(32))
save('data.sqlite', b'SQLite format 3\0' + bytes(84))

# markup
shape = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="10" height="10"/></svg>'
script = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
save('shape.svg', shape)
save('prolog.svg', '\ufeff<?xml version="1.0" standalone="no"?>\n<!-- <html> made by hand -->\n'
     '<?xml-stylesheet href="a.css"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd" [\n<!ENTITY a "b>c">\n]>\n' + shape)
save('wide.svg', ('\ufeff<?xml version="1.0" encoding="UTF-16"?>' + shape).encode('utf-16le'))
save('unmarked.svg', ('<?xml version="1.0" encoding="UTF-16"?>' + shape).encode('utf-16be'))
save('prefixed.svg', '<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:rect/></s:svg>')
save('script.svg', script)
save('page.html', '<!DOCTYPE html>\n<html><head><title>Page</title></head><body>Grüße</body></html>\n')
save('commented.html', '\n\n<!-- saved from somewhere -->\n<HTML><BODY>old</BODY></HTML>')
save('fragment.html', '<p>One paragraph and <b>nothing</b> else.</p>')
save('page.xhtml', '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x">'
     '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head><body/></html>')
save('zeros.html', b'<html><script>alert(1)</script>' + bytes(300))
save('cyrillic.html', '<!DOCTYPE html><meta charset="windows-1251"><p>'.encode() + ('Привет, мир! ' * 30).encode('cp1251'))
save('note.xml', '<?xml version="1.0" encoding="UTF-8"?>\n<note><to>you</to></note>')
save('undeclared.xml', '<note><to>you</to></note>')
save('feed.rss', '<?xml version="1.0"?><rss version="2.0"><channel/></rss>')

# text
save('plain.txt', 'Just a line of text.\n')
save('umlaut.txt', 'Grüße aus Köln — schön\n')
save('bom.txt', '\ufeffwith a mark\n')
save('utf16le.txt', '\ufeffGrüße\r\n'.encode('utf-16le'))
save('utf16be.txt', '\ufeffGrüße\r\n'.encode('utf-16be'))
save('latin1.txt', 'Die Käufer müssen prüfen, ob die Ware schön ist.\n'.encode('latin1'))
save('short-latin1.txt', 'un bon café'.encode('latin1'))
save('quotes1252.txt', 'He said “no”, and that’s that — for €5.\n'.encode('cp1252'))
save('shift-jis.txt', ('これは日本語の文章です。' * 20).encode('shift_jis'))
save('cut.txt', 'größer als 3 €'.encode()[:-1])
save('long.txt', ('x' * 65_535 + 'é and more').encode())
save('table.csv', 'id,name,price\n1,"Schröder, A.",3.50\n2,Bob,4\n')
save('table.tsv', 'id\tname\n1\tAda\n')
save('data.json', '{"answer": 42, "list": [1, 2, 3]}\n')
save('not.json', 'answer: 42\n')
save('lines.ndjson', '{"a":1}\n{"a":2}\n')
save('readme.md', '# Title\n\nSome *text*.\n')
save('badge.md', '<p align="center"><img src="logo.png"></p>\n\n# Title\n')
save('conf.yaml', 'name: x\nlist:\n  - 1\n')
save('conf.toml', '[a]\nb = 1\n')
save('conf.ini', '[a]\nb=1\n')
save('style.css', 'body { color: red }\n')
save('code.js', 'export const a = 1\n')
save('code.ts', 'export const a: number = 1\n')
save('code.py', '#!/usr/bin/env python3\nprint("hello")\n')
save('tool', '#!/bin/sh\nset -eu\necho hello\n')
save('query.sql', 'SELECT 1;\n')
save('subtitles.vtt', 'WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n')
save('event.ics', 'BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n')
save('person.vcf', 'BEGIN:VCARD\r\nVERSION:4.0\r\nFN:A\r\nEND:VCARD\r\n')
save('mz.txt', 'MZ is how programs begin; BM how bitmaps do. Get free stuff, move on.\n')
save('free.txt', 'Get free stuff here, and nothing to pay.\n')

# files that are two things, or none
gif = open('animation.gif', 'rb').read()
jpeg = open('photo.jpg', 'rb').read()
save('gifar.gif', gif + plain)
save('jpeg-zip.jpg', jpeg + plain)
save('gif-script.gif', 'GIF89a=1;//<script>alert(document.domain)</script>\n')
save('gif-page.gif', 'GIF89a<html><script>alert(1)</script></html>'.encode() + bytes(20))
save('html-pdf.pdf', '<html><body>not a document</body></html>\n' + pdf)
save('bmp-script.bmp', b'BM=1;alert(1)//' + b'\0' * 40)
save('random.bin', bytes([0x93]) + random.randbytes(5_000))
save('zeros.bin', bytes(70_000))
save('one-zero.bin', b'\0')
save('one-letter.txt', 'A')
save('one-high.bin', b'\xff')
save('empty', b'')
save('sync.bin', b'\xff\xfb\x90\x00' + random.randbytes(2_000))
save('zlib.bin', b'\x78\x01' + random.randbytes(500))
PYTHON

gzip -n <files.tar >files.tar.gz
bzip2 <plain.txt >plain.bz2
xz <plain.txt >plain.xz
zstd -q <plain.txt >plain.zst
lz4 -q <plain.txt >plain.lz4
gzip -n <script.svg >script.svgz

# what no program makes
node ../../support/make-handmade.ts

import { pack } from './pictures.ts'
import { selfNamed, zip } from './zip.ts'

const zeros = (bytes: number): Buffer => Buffer.alloc(bytes)
/** The signature, at its place, among zeros. */
const at = (offset: number, text: string, bytes = 600): Buffer => {
  const file = zeros(bytes)
  file.write(text, offset, 'latin1')
  return file
}
const starts = (text: string): Buffer => at(0, text)
const ogg = (header: string): Buffer => starts(`OggS\0\x02${'\0'.repeat(20)}\x01\x1e${header}`)
const jpeg2000 = (brand: string): Buffer => starts(`\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftyp${brand}`)
const riff = (form: string): Buffer => starts(`RIFF\x50\x02\0\0${form}`)
const ebml = (kind: string): Buffer =>
  starts(
    `\x1a\x45\xdf\xa3${String.fromCharCode(0x83 + kind.length)}\x42\x82${String.fromCharCode(0x80 + kind.length)}${kind}`,
  )
const ftyp = (brand: string): Buffer => starts(`\0\0\0\x18ftyp${brand}\0\0\0\0${brand}isom`)
const tiff = (tag: number): Buffer =>
  pack('II*\0', ['u32', 8], ['u16', 1], ['u16', tag], ['u16', 4], ['u32', 1], ['u32', 0], zeros(200))
const utf16 = (text: string): Buffer => Buffer.concat([Buffer.from('\ufeff', 'utf16le'), Buffer.from(text, 'utf16le')])
const packets = Buffer.concat(Array.from({ length: 4 }, () => Buffer.concat([Buffer.from('G'), zeros(187)])))
const tar = (): Buffer => at(257, 'ustar\x0000', 1024)

/** The smallest file that file-type takes for each of its formats, by its extension; those that samples show are left out. */
export const signatures: Readonly<Record<string, Uint8Array>> = {
  apng: Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR', 'latin1'), zeros(17), Buffer.from('\0\0\0\x08acTL'), zeros(12), Buffer.from('\0\0\0\0IDAT'), zeros(40)]),
  flif: starts('FLIF'), xcf: starts('gimp xcf v011'), cr2: starts('II*\0\x10\0\0\0CR\x02\0'), cr3: ftyp('crx '), orf: starts('IIRO\x08\0\0\0\x18'),
  arw: tiff(50_341), dng: tiff(50_706), nef: starts('II*\0\x08\0\0\0\x1c\0\xfe\0'), rw2: starts('IIU\0\x18\0\0\0\x88\xe7\x74\xd8'), raf: starts('FUJIFILMCCD-RAW '),
  icns: starts('icns'), jxr: starts('II\xbc'), indd: starts('\x06\x06\xed\xf5\xd8\x1d\x46\xe5\xbd\x31\xef\xe7\xfe\x74\xb7\x1d'),
  dmg: starts('\x78\x01'), mid: starts('MThd'), mp2: Buffer.concat([0, 1].map(() => pack('\xff\xfd\x90\x00', zeros(518)))), oga: ogg('\x7fFLAC'), ogv: ogg('\x80theora'), spx: ogg('Speex  '), ogm: ogg('\x01video\0'), ogx: ogg('other'),
  amr: starts('#!AMR\n'), macho: starts('\xfe\xed\xfa\xce'), woff: starts('wOFF\0\x01\0\0'), woff2: starts('wOF2\0\x01\0\0'), eot: at(8, `\0\0\x01${'\0'.repeat(23)}LP`), ttf: starts('\0\x01\0\0\0'), otf: starts('OTTO\0'), ttc: starts('ttcf'),
  cur: pack(['u16', 0], ['u16', 2], ['u16', 1], Uint8Array.of(1, 1, 0, 0), ['u32', 0], ['u32', 40], ['u32', 22], ['u32', 40], zeros(40)),
  ps: pack('%!PS-Adobe-3.0\n', zeros(600)), nes: starts('NES\x1a'), crx: starts('Cr24'), cab: starts('MSCF'), deb: starts('!<arch>\ndebian-binary'), ar: starts('!<arch>\nsomething    '), rpm: starts('\xed\xab\xee\xdb'), Z: starts('\x1f\x9d'), lz: starts('LZIP'),
  mxf: starts('\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02'), mts: packets, blend: starts('BLENDER'), bpg: starts('BPG\xfb'), '3g2': ftyp('3g2a'),
  j2c: starts('\xff\x4f\xff\x51'), jp2: jpeg2000('jp2 '), jpm: jpeg2000('jpm '), jpx: jpeg2000('jpx '), mj2: jpeg2000('mjp2'), caf: starts('caff\0\x01\0\0desc'), qcp: riff('QLCM'), xml: utf16('<?xml version="1.0"?><a/>'),
  mobi: at(60, 'BOOKMOBI'), ktx: starts('\xabKTX 11\xbb\r\n\x1a\n'), ape: starts('MAC '), wv: starts('wvpk'), dcm: at(128, 'DICM'), glb: starts('glTF\x02\0\0\0'), pcap: starts('\xd4\xc3\xb2\xa1'), dsf: starts('DSD '), dff: starts('FRM8\0\0\0\0\0\0\0\0DSD '),
  lnk: starts('L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F'), alias: starts('book\0\0\0\0mark\0\0\0\0'), voc: starts('Creative Voice File'), ac3: starts('\x0b\x77\0\0\x14\x40'), m4v: ftyp('M4V '), m4p: ftyp('M4P '), m4b: ftyp('M4B '), f4v: ftyp('F4V '), f4p: ftyp('F4P '), f4b: ftyp('F4B '), f4a: ftyp('F4A '),
  mie: starts('~\x10\x04\x000MIE'), mpc: starts('MPCK'), arrow: starts('ARROW1\0\0'), shp: starts('\0\0\x27\x0a'), mp1: Buffer.concat([0, 1].map(() => pack('\xff\xff\x90\x00', zeros(308)))), it: starts('IMPM'), s3m: at(44, 'SCRM'), xm: starts('Extended Module:'), skp: pack('\xff\xfe\xff\x0e', Buffer.from('SketchUp Model', 'utf16le'), zeros(600)),
  lzh: starts('\x21\x0c-lh5-'), pgp: starts('-----BEGIN PGP MESSAGE-----'), asar: starts('\x04\0\0\0\x20\0\0\0\x1c\0\0\0\x0f\0\0\0{"files":{"a":1}}'.replace('\x0f', '\x11')), chm: starts('ITSF'), jxl: starts('\0\0\0\x0cJXL \r\n\x87\n'), jls: starts('\xff\xd8\xff\xf7'), pst: starts('!BDN'), dwg: starts('AC1032'), parquet: starts('PAR1'),
  arj: starts('\x60\xea'), cpio: starts('\xc7\x71'), ace: at(7, '**ACE**'), avro: starts('Obj\x01'), icc: at(36, 'acsp'), fbx: starts('Kaydara FBX Binary  \0'), drc: starts('DRACO'), jmp: starts('\xff\xff\0\0\x07\0\0\0\x04\0\0\0\x01\0\x01\0'), rm: starts('.RMF'), sav: starts('$FL2'), reg: pack('REGEDIT4\r\n', zeros(600)), dat: starts('regf'),
  webm: ebml('webm'), mkv: ebml('matroska'), tar: tar(), otg: selfNamed('application/vnd.oasis.opendocument.graphics-template'), '3mf': zip([['3D/3dmodel.model', '<model/>']]), xpi: zip([['META-INF/mozilla.rsa', '']]), 'mpg-2': starts('\0\0\x01\xb3'),
} // prettier-ignore

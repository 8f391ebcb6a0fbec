/** Names of the formats of sound that Windows numbers, in AVI, WAV and ASF. */
export const soundCodecs: Readonly<Record<number, string>> = {
  0x1: 'pcm',
  0x2: 'adpcm',
  0x6: 'alaw',
  0x7: 'ulaw',
  0xa: 'wmav',
  0x11: 'adpcm',
  0x31: 'gsm',
  0x50: 'mp2',
  0x55: 'mp3',
  0xff: 'mp4a.40.2',
  0x160: 'wmav1',
  0x161: 'wmav2',
  0x162: 'wmapro',
  0x163: 'wmalossless',
  0x2000: 'ac-3',
  0x2001: 'dts',
}

import sharp from 'sharp'
import { readdirSync } from 'node:fs'
import { CustomSource, Input, MP4,QTFF,MATROSKA,WEBM,OGG,MPEG_TS,WAVE,FLAC,MP3,ADTS } from 'mediabunny'
import { readFileSync } from 'node:fs'
sharp.cache(false); sharp.concurrency(1)
for (const f of readdirSync('test/samples/media')) {
  const p = 'test/samples/media/' + f
  if (/(jpg|png|gif|webp|avif|heic|tiff|bmp|ico)$/.test(f)) {
    for (const opt of [{},{animated:true}, {pages:-1}]) {
    try { const t=performance.now(); const m = await sharp(p, { failOn: 'none', limitInputPixels: false, sequentialRead: true, ...opt }).metadata()
      console.log(f, JSON.stringify(opt), m.format, m.compression, m.width, m.height, m.autoOrient, 'pages', m.pages, 'ph', m.pageHeight, 'delay', m.delay?.length, m.delay?.[0], m.loop, 'pp', m.pagePrimary, (performance.now()-t).toFixed(1)) } catch (e) { console.log(f, String(e).slice(0,100)) }
    }
  } else {
    const b = readFileSync(p)
    let reads=0
    const input = new Input({ source: new CustomSource({ getSize: () => b.length, read: async (s, e) => (reads++, b.subarray(s, e)) }), formats: [MP4,QTFF,MATROSKA,WEBM,OGG,MPEG_TS,WAVE,FLAC,MP3,ADTS] })
    try {
      const fm = (await input.getFormat()).name
      const tr = await input.getTracks()
      const out=[]
      for (const t of tr) out.push(await t.getCodecParameterString().catch(String), t.isVideoTrack() ? [await t.getDisplayWidth(), await t.getDisplayHeight()] : '')
      const d = await input.getDurationFromMetadata().catch(String)
      const c = await input.computeDuration().catch(String)
      console.log(f, fm, out.join(' '), 'meta', d, 'compute', c, 'first', await input.getFirstTimestamp().catch(String), reads)
    } catch (e) { console.log(f, String(e).slice(0,120)) }
  }
}

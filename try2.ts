import { s3Store } from './src/stores/s3.ts'
import { randomBytes } from 'node:crypto'
const store = s3Store({bucket:'hand',prefix:'abc/',endpoint:'http://127.0.0.1:21000',profile:'ceph',credentials:{accessKeyId:'test',secretAccessKey:'testtest'},memoryBytes:64*1024*1024,largestObject:5*2**30})
const block=randomBytes(1024*1024)
const n=Number(process.argv[2]), mibs=Number(process.argv[3])
const t=Date.now()
const iv=setInterval(()=>console.log(store.memory.used/2**20, done),1000)
let done=0
await Promise.all(Array.from({length:n},async(_,i)=>{
  const w=store.write('aa/x'+i,{length:mibs*2**20})
  for(let j=0;j<mibs;j++) {await w.write([block]);done++}
  await w.finish(); await store.remove('aa/x'+i)
}))
clearInterval(iv)
console.log(n*mibs/((Date.now()-t)/1000),'MiB/s', process.memoryUsage().rss/2**20, store.memory.used)
store.close()

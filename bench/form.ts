/**
 * What large files in one form cost: peak memory of the program as it ships, and bytes that it writes. The load comes from a process of
 * its own, over a raw socket.
 *
 *     node bench/form.ts [--files 3] [--mib 700]
 */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { parseArgs } from 'node:util'
import { mib, serve } from './processes.ts'

/** MiB that the peak may reach. */
const peakTarget = 200
/** Bytes written for each byte of the files: once, and the records. */
const writtenTarget = 1.02
const boundary = 'boundary-of-the-benchmark'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    files: { type: 'string', default: '3' },
    mib: { type: 'string', default: '700' },
    load: { type: 'boolean', default: false },
  },
})
const files = Number(values.files)
const fileBytes = Number(values.mib) * mib

if (values.load) await load(Number(positionals[0]), positionals[1] ?? '')
else await measure()

async function load(port: number, key: string): Promise<void> {
  const block = randomBytes(mib)
  const head = (i: number) =>
    `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${i}.bin"\r\nContent-Type: application/octet-stream\r\n\r\n`
  const end = `--${boundary}--\r\n`
  const length = Array.from({ length: files }, (_, i) => head(i).length + fileBytes + 2).reduce(
    (a, b) => a + b,
    end.length,
  )
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  let answer = ''
  socket.setEncoding('latin1').on('data', (text: string) => (answer += text))
  const answered = once(socket, 'data')
  const began = performance.now()
  socket.write(
    `POST /v2/default/project/bench/upload HTTP/1.1\r\nHost: localhost\r\nx-api-key: ${key}\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nContent-Length: ${length}\r\n\r\n`,
  )
  for (let i = 0; i < files; i++) {
    socket.write(head(i))
    for (let left = fileBytes; left > 0; left -= mib)
      if (!socket.write(left < mib ? block.subarray(0, left) : block)) await once(socket, 'drain')
    socket.write('\r\n')
  }
  socket.write(end)
  await answered
  if (!answer.startsWith('HTTP/1.1 201')) throw new Error(answer)
  process.send?.((performance.now() - began) / 1_000)
  socket.destroy()
}

async function measure(): Promise<void> {
  const server = await serve('gateway', [], {})
  try {
    const before = await server.figures()
    const driver = fork(
      import.meta.filename,
      ['--load', String(server.port), server.key, '--files', values.files, '--mib', values.mib],
      { execArgv: [] },
    )
    const [seconds] = await once(driver, 'message')
    const after = await server.figures()
    const total = (files * fileBytes) / mib
    const written = (after.writtenMib - before.writtenMib) / total
    const cpu = (after.cpuSeconds - before.cpuSeconds) / (total / 1024)
    console.log(`${files} × ${values.mib} MiB in one form`)
    console.log(`${(total / Number(seconds)).toFixed(0)} MiB/s, ${cpu.toFixed(2)} CPU s/GiB`)
    tell('peak', `${after.peakMib.toFixed(0)} MiB`, `below ${peakTarget} MiB`, after.peakMib < peakTarget)
    tell('written', `${written.toFixed(3)} × the files`, `at most ${writtenTarget}`, written <= writtenTarget)
  } finally {
    await server.close()
  }
}

function tell(what: string, found: string, target: string, kept: boolean): void {
  console.log(`${what}: ${found}; target: ${target}: ${kept ? 'kept' : 'MISSED'}`)
  if (!kept) process.exitCode = 1
}

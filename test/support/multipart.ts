/** One part of a form, as it goes over the wire. */
export interface Part {
  /** Lines of its headers. */
  readonly head: readonly string[]
  readonly body: string | Uint8Array
}

export const boundary = 'b0undary-of-the-tests'
export const formType = `multipart/form-data; boundary=${boundary}`

export const field = (name: string, value: string | Uint8Array): Part => ({
  head: [`Content-Disposition: form-data; name="${name}"`],
  body: value,
})

export const file = (filename: string, body: string | Uint8Array, type = 'application/octet-stream'): Part => ({
  head: [`Content-Disposition: form-data; name="file"; filename="${filename}"`, `Content-Type: ${type}`],
  body,
})

const bytesOf = (text: string | Uint8Array): Buffer =>
  typeof text === 'string' ? Buffer.from(text) : Buffer.from(text)

/** The bytes of a form. @param end what comes after the last part */
export const formBytes = (parts: readonly Part[], end = `--${boundary}--\r\n`): Buffer =>
  Buffer.concat([
    ...parts.flatMap(({ head, body }) => [
      Buffer.from(`--${boundary}\r\n${head.map((line) => `${line}\r\n`).join('')}\r\n`),
      bytesOf(body),
      Buffer.from('\r\n'),
    ]),
    Buffer.from(end),
  ])

/** Milliseconds that one question may take. */
const askMs = 20_000
/** Characters of an answer's sentence that are shown. */
const maxWords = 500

/** The gateway: where this page lies, whatever path a proxy puts before it. */
export const base = new URL('.', location.href)

export type Json = Readonly<Record<string, unknown>>
/** What was asked for, or why it is not there in words for people. */
export type Asked = { readonly data: Json } | { readonly words: string }

/** Asks for JSON; the key goes in a header and nowhere else. */
export async function ask(path: string, key: string): Promise<Asked> {
  try {
    const answer = await fetch(new URL(path, base), {
      headers: { Authorization: `Bearer ${key}`, Accept: 'application/json' },
      cache: 'no-store',
      credentials: 'omit',
      signal: AbortSignal.timeout(askMs),
    })
    const body = await answer.text()
    const data = objectOf(objectOf(parsed(body))?.['data'])
    return answer.ok && data ? { data } : { words: wordsOf(answer.status, body) }
  } catch {
    return { words: 'The gateway does not answer.' }
  }
}

/** What an error says, in either of the gateway's shapes; of anybody else's the status. */
export function wordsOf(status: number, body: string): string {
  const detail = objectOf(parsed(body))?.['detail']
  const faults = Array.isArray(detail) ? detail.map((fault) => textOf(objectOf(fault)?.['msg'])) : [textOf(detail)]
  const words = faults.filter((one) => one !== undefined).join(' ')
  return words === '' ? `The server answered with ${status}.` : words.slice(0, maxWords)
}

export const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
export const numberOf = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)
const objectOf = (value: unknown): Json | undefined =>
  typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : undefined

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

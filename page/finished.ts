import { bytesText } from '../src/bytes-text.ts'
import { type Announce, line, make } from './elements.ts'
import { type Asked, type Json, numberOf, textOf } from './gateway.ts'
import { downloadOf, imageOf } from './record.ts'

/** Entries of the list; older ones go. */
const maxEntries = 100

export interface FinishedOptions {
  readonly section: HTMLElement
  readonly list: HTMLElement
  readonly announce: Announce
}

export interface Finished {
  readonly name: string
  /** The bytes as they were sent. */
  readonly bytes: Blob
  /** Asks for the record. */
  readonly record: () => Promise<Asked>
}

/** The list of what has arrived. Whatever a client or the gateway said is put there as text, never as HTML. */
export function finishedList({ section, list, announce }: FinishedOptions): (file: Finished) => void {
  async function fill(entry: HTMLElement, file: Finished): Promise<void> {
    const { name, record, bytes } = file
    const title = make('h3', name)
    const body = make('div', title, line('The gateway looks at it…', 'faint'))
    entry.replaceChildren(body)
    const asked = await record()
    if ('words' in asked) {
      body.replaceChildren(title, line(asked.words, 'bad'), againButton())
      return announce(`${name}: ${asked.words}`, 'bad')
    }
    const status = textOf(asked.data['status'])
    if (status === 'processing') {
      body.replaceChildren(title, line('The gateway still looks at it.', 'faint'), againButton())
      return
    }
    if (status !== 'confirmed') {
      body.replaceChildren(
        title,
        line(`The gateway did not keep it: ${reasonOf(asked.data) ?? `${status ?? 'unknown'}.`}`, 'bad'),
      )
      return announce(`${name} was not kept.`, 'bad')
    }
    title.textContent = textOf(asked.data['filename']) ?? name
    body.replaceChildren(title, factList(factsOf(asked.data)), ...downloadLink(asked.data))
    announce(`${name} is stored.`, 'faint')
    const image = await imageOf(asked.data, bytes)
    if (image !== undefined) entry.prepend(thumbnail(image))

    function againButton(): HTMLElement {
      const again = make('button', 'Ask again')
      again.addEventListener('click', () => void fill(entry, file))
      return again
    }
  }

  return (file) => {
    section.hidden = false
    const entry = make('li')
    list.prepend(entry)
    while (list.childElementCount > maxEntries) list.lastElementChild?.remove()
    void fill(entry, file)
  }
}

function factsOf(record: Json): readonly (readonly [string, string])[] {
  const [size, width, height, duration, pages] = ['size_bytes', 'width', 'height', 'duration', 'pages'].map((one) =>
    numberOf(record[one]),
  )
  const { codecs } = record
  return [
    ['Type', textOf(record['content_type']) ?? 'unknown'],
    ['Size', size === undefined ? 'unknown' : bytesText(size)],
    ...(width === undefined || height === undefined ? [] : [['Dimensions', `${width} × ${height}`] as const]),
    ...(duration === undefined ? [] : [['Duration', `${Number(duration.toFixed(2))} s`] as const]),
    ...(pages === undefined ? [] : [['Pages', String(pages)] as const]),
    ...(Array.isArray(codecs) && codecs.length > 0 ? [['Codecs', codecs.join(', ')] as const] : []),
    ['Id', textOf(record['id']) ?? ''],
  ]
}

/** Why the file was refused. */
function reasonOf({ rejection }: Json): string | undefined {
  return typeof rejection === 'object' && rejection !== null && 'detail' in rejection
    ? textOf(rejection.detail)
    : undefined
}

function factList(facts: readonly (readonly [string, string])[]): HTMLElement {
  return make('dl', ...facts.map(([what, value]) => make('div', make('dt', what), make('dd', value))))
}

function downloadLink(record: Json): readonly HTMLElement[] {
  const url = downloadOf(record)
  if (url === undefined) return []
  const link = make('a', 'Download')
  link.href = url
  return [make('p', link)]
}

function thumbnail(url: string): HTMLElement {
  const image = make('img')
  image.alt = ''
  const free = () => URL.revokeObjectURL(url)
  image.addEventListener('load', free)
  image.addEventListener('error', () => {
    free()
    image.remove()
  })
  image.src = url
  return image
}

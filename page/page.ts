import { announcer } from './elements.ts'
import { finishedList } from './finished.ts'
import { keyForm } from './key.ts'
import { idOf, recordOf } from './record.ts'
import { uploader } from './uploader.ts'

function element<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id)
  if (found instanceof kind) return found
  throw new Error(`The page has no ${id}.`)
}

let key = ''
const announce = announcer(element('news', HTMLElement))
const add = finishedList({
  section: element('finished', HTMLElement),
  list: element('finished-list', HTMLElement),
  announce,
})
const files = uploader({
  target: element('uploader', HTMLElement),
  announce,
  onFinished({ name, bytes, url }) {
    const id = idOf(url)
    if (id !== undefined) add({ name, bytes, record: () => recordOf(id, key) })
  },
})
keyForm({
  form: element('key-form', HTMLFormElement),
  entry: element('key-entry', HTMLElement),
  field: element('key', HTMLInputElement),
  use: element('use-key', HTMLButtonElement),
  forget: element('forget-key', HTMLButtonElement),
  state: element('key-state', HTMLElement),
  onAccepted(accepted) {
    key = accepted
    files.allow(accepted)
  },
})
// Beside the Dashboard a browser would open what is dropped, and leave the page.
for (const type of ['dragover', 'drop']) window.addEventListener(type, (event) => event.preventDefault())

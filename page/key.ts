import { ask, textOf } from './gateway.ts'

/** In `sessionStorage`: gone with the tab. */
const storageName = 'fairlead-key'

export interface KeyOptions {
  readonly form: HTMLFormElement
  /** What is seen until a key is accepted. */
  readonly entry: HTMLElement
  readonly field: HTMLInputElement
  readonly use: HTMLButtonElement
  readonly forget: HTMLButtonElement
  readonly state: HTMLElement
  /** The gateway knows the key. */
  readonly onAccepted: (key: string) => void
}

/** Asks the gateway whose key it is, before anything is done with it. */
export function keyForm({ form, entry, field, use, forget, state, onAccepted }: KeyOptions): void {
  const say = (words: string, how: 'good' | 'bad' | '') => {
    state.textContent = words
    state.className = how
    field.setAttribute('aria-invalid', String(how === 'bad'))
  }

  async function check(key: string): Promise<void> {
    if (!/^[\x21-\x7e]+$/.test(key)) return say('A key has letters, digits and _ only.', 'bad')
    use.disabled = true
    say('Asking the gateway…', '')
    const asked = await ask('api/v1/auth/whoami', key)
    use.disabled = false
    if ('words' in asked) return say(asked.words, 'bad')
    const { scopes, workspace_id: workspace, key_name: name } = asked.data
    const may = (scope: string): boolean => Array.isArray(scopes) && scopes.includes(scope)
    if (!may('uploads:write')) return say('This key may not send files: it lacks the scope uploads:write.', 'bad')
    sessionStorage.setItem(storageName, key)
    field.value = ''
    entry.hidden = true
    forget.hidden = false
    const whose = `Files go to the workspace ${textOf(workspace) ?? ''}${name === null ? '' : `, by the key “${textOf(name) ?? ''}”`}.`
    say(may('uploads:read') ? whose : `${whose} Records are not shown: the key lacks the scope uploads:read.`, 'good')
    onAccepted(key)
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void check(field.value.trim())
  })
  forget.addEventListener('click', () => {
    sessionStorage.removeItem(storageName)
    // What was under way stops, and goes on when the same file is chosen again.
    location.reload()
  })
  const kept = sessionStorage.getItem(storageName)
  if (kept !== null) void check(kept)
}

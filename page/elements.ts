/** Lines of news that are kept. */
const maxNews = 4

type How = 'faint' | 'bad'
/** Says it below the Dashboard, and to who does not see it. */
export type Announce = (words: string, how: How) => void

/** @param place a live region */
export const announcer =
  (place: HTMLElement): Announce =>
  (words, how) => {
    place.append(line(words, how))
    while (place.childElementCount > maxNews) place.firstElementChild?.remove()
  }

export function line(words: string, how: How): HTMLElement {
  const paragraph = make('p', words)
  paragraph.className = how
  return paragraph
}

/** An element with text and elements in it. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  ...children: (HTMLElement | string)[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name)
  element.append(...children)
  return element
}

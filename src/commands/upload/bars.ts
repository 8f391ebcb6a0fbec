import { clearScreenDown, cursorTo, moveCursor } from 'node:readline'
import type { WriteStream } from 'node:tty'
import { bytesText } from '../../bytes-text.ts'
import {
  failureLine,
  type Meter,
  meter,
  noteLine,
  percent,
  position,
  type Progress,
  shownName,
  timeText,
  waitText,
} from './progress.ts'

/** Milliseconds between two drawings. */
const drawMs = 100
const barCells = 24
/** Cells that a name gets at least. */
const nameCells = 12
/** Lines of the screen that are left alone. */
const freeLines = 2
const usualColumns = 80
const usualRows = 24

const wide =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}|[\uFF01-\uFF60\u3000-\u303F]/u
const cellsOf = (character: string): number => (/^\p{M}$/u.test(character) ? 0 : wide.test(character) ? 2 : 1)

/** How many cells of a terminal a text takes, nearly. */
export const textCells = (text: string): number => Array.from(text).reduce((sum, one) => sum + cellsOf(one), 0)

/** As much of a text as fits. */
export function fit(text: string, cells: number): string {
  if (textCells(text) <= cells) return text
  let used = 1
  let kept = ''
  for (const character of text) {
    used += cellsOf(character)
    if (used > cells) break
    kept += character
  }
  return cells < 1 ? '' : `${kept}…`
}

/** One line of at most so many cells: name, bar, per cent, bytes, rate, time left; what does not fit is left out from the right. */
export function barLine(state: BarState, cells: number): string {
  const { bytes, size, rate } = state
  const left = rate > 0 ? ((size - bytes) / rate) * 1_000 : Number.NaN
  const filled = Math.floor((percent(bytes, size) / 100) * barCells)
  const parts = state.waits
    ? [state.waits]
    : [
        `${String(percent(bytes, size)).padStart(3)} %`,
        `[${'#'.repeat(filled)}${'-'.repeat(barCells - filled)}]`,
        `${bytesText(bytes)} of ${bytesText(size)}`,
        `${bytesText(rate)}/s`,
        Number.isFinite(left) ? `${timeText(left)} left` : '',
      ]
  let line = ''
  for (const part of parts) {
    const longer = part === '' ? line : `${line}  ${part}`
    if (textCells(longer) + nameCells > cells) break
    line = longer
  }
  // The reason for a wait says more than nothing, even when it is cut.
  if (line === '' && state.waits) return fit(`${fit(state.name, nameCells)}  ${state.waits}`, cells)
  const room = cells - textCells(line)
  const name = fit(state.name, Math.max(0, Math.min(room, state.nameCells)))
  return fit(`${name}${' '.repeat(Math.max(0, Math.min(room, state.nameCells) - textCells(name)))}${line}`, cells)
}

export interface BarState {
  readonly name: string
  /** Cells of the longest name beside it. */
  readonly nameCells: number
  readonly bytes: number
  readonly size: number
  /** Bytes in a second. */
  readonly rate: number
  readonly waits?: string | undefined
}

interface Running {
  readonly name: string
  readonly size: number
  readonly where: ReturnType<typeof position>
  readonly sent: Meter
  waits: string | undefined
}

/** Bars at the foot of a terminal, redrawn in place. @param all what the command will send */
export function bars(screen: WriteStream, all: { readonly files: number; readonly bytes: number }): Progress {
  const running = new Set<Running>()
  const sentInAll = meter()
  let endedFiles = 0
  let endedBytes = 0
  let drawn: readonly string[] = []

  function clear(): void {
    if (drawn.length === 0) return
    // Lines that were drawn before the terminal got narrower take more of its lines now.
    const rows = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(textCells(line) / columns())), 0)
    cursorTo(screen, 0) // a terminal may have shown ^C where the cursor was
    moveCursor(screen, 0, -rows)
    clearScreenDown(screen)
    drawn = []
  }
  // A terminal that does not know its size says 0.
  const columns = (): number => screen.columns || usualColumns

  function draw(): void {
    const shown = [...running].slice(0, Math.max(1, (screen.rows || usualRows) - freeLines - 1))
    const names = Math.max(nameCells, ...shown.map(({ name }) => textCells(name)))
    const states: BarState[] = shown.map(({ name, size, where, sent, waits }) => ({
      name,
      nameCells: names,
      bytes: where.bytes,
      size,
      rate: sent.rate(),
      waits,
    }))
    const bytes = endedBytes + [...running].reduce((sum, { where }) => sum + where.bytes, 0)
    if (all.files > 1)
      states.push({
        name: `${endedFiles} of ${all.files} files`,
        nameCells: names,
        bytes,
        size: all.bytes,
        rate: sentInAll.rate(),
      })
    const lines = states.map((state) => barLine(state, columns() - 1))
    clear()
    screen.write(lines.map((line) => `${line}\n`).join(''))
    drawn = lines
  }

  const timer = setInterval(draw, drawMs)
  function above(text: string): void {
    clear()
    screen.write(text)
  }

  return {
    file(named, size) {
      const one: Running = { name: shownName(named), size, where: position(), sent: meter(), waits: undefined }
      running.add(one)
      draw()
      return {
        begins() {
          one.where.begins()
        },
        resumes: (bytes) => one.where.at(bytes),
        at(bytes) {
          one.waits = undefined
          const more = one.where.at(bytes)
          one.sent.add(more)
          sentInAll.add(more)
        },
        waits(why, ms) {
          one.waits = waitText(why, ms)
        },
        ends(isDone) {
          running.delete(one)
          endedBytes += size
          if (isDone) endedFiles++
        },
      }
    },
    note: (text) => above(noteLine(text)),
    failed: (named, why) => above(failureLine(named, why)),
    close() {
      clearInterval(timer)
      clear()
    },
  }
}

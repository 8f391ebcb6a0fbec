import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import Tus from '@uppy/tus'
import { DetailedError } from 'tus-js-client'
import { bytesText } from '../src/bytes-text.ts'
import type { Announce } from './elements.ts'
import { base, wordsOf } from './gateway.ts'

/** Uploads at a time: a browser has six connections, and some are wanted for questions. */
const uploadsAtOnce = 3
/** Milliseconds between tries: a connection may be away for a minute. */
const retryDelaysMs = [0, 1_000, 3_000, 5_000, 10_000, 20_000, 20_000]
const note = 'A file that was cut off goes on where it stopped when it is chosen again.'

export interface UploaderOptions {
  readonly target: HTMLElement
  readonly onFinished: (file: { readonly name: string; readonly bytes: Blob; readonly url: string }) => void
  readonly announce: Announce
}

export interface Uploader {
  /** Files may be chosen from now on, and are sent with this key. */
  allow(key: string): void
}

/** Uppy's Dashboard, with tus behind it. */
export function uploader({ target, onFinished, announce }: UploaderOptions): Uploader {
  let authorization = ''
  const uppy = new Uppy({
    autoProceed: true,
    // Also not by pasting one.
    onBeforeFileAdded: () => authorization !== '',
    logger: { debug: nothing, warn: nothing, error: nothing },
  })
  uppy.use(Dashboard, {
    target,
    inline: true,
    width: '100%',
    height: 380,
    theme: 'auto',
    disabled: true,
    note: 'First, an API key.',
    proudlyDisplayPoweredByUppy: false,
    locale: { strings: { dashboardTitle: 'Files to send' } },
  })
  uppy.use(Tus, {
    endpoint: new URL('files', base).href,
    limit: uploadsAtOnce,
    retryDelays: retryDelaysMs,
    allowedMetaFields: ['name', 'type'],
    // The same file chosen once more is a new upload.
    removeFingerprintOnSuccess: true,
    onBeforeRequest: (request) => request.setHeader('Authorization', authorization),
    onAfterResponse: (request, response) => {
      const offset = Number(response.getHeader('Upload-Offset') ?? 0)
      if (request.getMethod() !== 'HEAD' || !(offset > 0)) return
      announce(`Goes on after ${bytesText(offset)} that the gateway already has.`, 'faint')
    },
    // Uppy shows the error's message: it becomes what the gateway said.
    onError: (error) => {
      const answer = error instanceof DetailedError ? error.originalResponse : null
      error.message = answer
        ? wordsOf(answer.getStatus(), answer.getBody())
        : 'The connection broke off and did not come back. What has arrived is kept: try again.'
    },
  })
  uppy.on('upload-success', (file, { uploadURL }) => {
    if (file?.data instanceof Blob && uploadURL !== undefined)
      onFinished({ name: file.name, bytes: file.data, url: uploadURL })
  })
  uppy.on('upload-error', (file, error) => announce(`${file?.name ?? 'A file'}: ${error.message}`, 'bad'))
  // They are in the list of finished ones; what failed stays, to be tried again.
  uppy.on('complete', ({ successful = [] }) => uppy.removeFiles(successful.map(({ id }) => id)))

  return {
    allow(key) {
      authorization = `Bearer ${key}`
      uppy.getPlugin('Dashboard')?.setOptions({ disabled: false, note })
    },
  }
}

/** Nothing of what happens is logged: errors of tus carry their requests, with the key. */
const nothing = (): void => {}

export interface FailureOptions {
  /** Our own error code, in lower case; `null` where the server has said none. */
  readonly code?: string | null
  /** What is on the server can still be gone on with: its URL stays stored. @default true */
  readonly resumable?: boolean
  readonly cause?: unknown
}

/** One file was not uploaded, and trying again at once would not help. The message is a sentence for a person. */
export class UploadFailure extends Error {
  override readonly name = 'UploadFailure'
  readonly code: string | null
  readonly resumable: boolean

  constructor(message: string, { code = null, resumable = true, cause }: FailureOptions = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.resumable = resumable
  }
}

/** The file is no longer what was begun to be sent. */
export class FileChanged extends UploadFailure {
  constructor(message = 'The file was changed while it was sent: run the command again to send it as it is now.') {
    super(message, { code: 'file_changed', resumable: false })
  }
}

/** What was being sent is not there any more. */
export const gone = (): UploadFailure =>
  new UploadFailure('The upload is gone from the server: deleted, or expired.', { code: 'not_found', resumable: false })

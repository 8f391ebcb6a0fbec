import pino, { type Logger } from 'pino'

/** Structured lines on stderr, so that stdout holds only what a person or script reads. Credentials never appear. */
export function logger(level: string): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'authorization',
          'secret',
          'secretPrevious',
          'key',
          'signature',
          '*.authorization',
          '*.secret',
          '*.secretPrevious',
          '*["x-api-key"]',
          '*.signature',
        ],
        censor: '(hidden)',
      },
    },
    pino.destination({ fd: 2, sync: false }),
  )
}

import { afterAll, describe } from 'vitest'
import { s3Place } from '../support/places.ts'
import { everyFormat, typesSuite } from './suites/types.ts'

const s3 = s3Place()
afterAll(() => s3.close())

/** Every ninth of what is found before the store has it, and all that is found in the store. */
const some = Object.fromEntries(
  Object.entries(everyFormat).filter(([format], index) => index % 9 === 0 || format === 'vsdm'),
)

describe.skipIf(s3.missing)('files of formats that a sniffer can name, in S3', () => {
  typesSuite(s3, some)
})

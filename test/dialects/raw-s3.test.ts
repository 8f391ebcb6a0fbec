import { afterAll, describe } from 'vitest'
import { s3Place } from '../support/places.ts'
import { rawSuite } from './suites/raw.ts'

const place = s3Place()
afterAll(() => place.close())

describe.skipIf(place.missing)('on S3', () => {
  rawSuite(place)
})

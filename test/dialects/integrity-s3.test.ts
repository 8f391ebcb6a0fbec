import { afterAll, describe } from 'vitest'
import { s3Place } from '../support/places.ts'
import { integritySuite } from './suites/integrity.ts'

const place = s3Place()
afterAll(() => place.close())

describe.skipIf(place.missing)('on S3', () => {
  integritySuite(place)
})

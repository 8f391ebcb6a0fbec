import { afterAll, describe } from 'vitest'
import { s3Place } from '../support/places.ts'
import { tusSuite } from './suites/tus/suite.ts'

const place = s3Place()
afterAll(() => place.close())

describe.skipIf(place.missing)('on S3', () => {
  tusSuite(place)
})

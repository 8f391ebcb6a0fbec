import type { ApiPart } from '../http/api.ts'
import type { Guide } from '../http/documentation.ts'
import type { Dialect } from './dialect.ts'
import { direct } from './direct.ts'
import { directApi, directGuide } from './direct-api.ts'
import { downloads } from './downloads.ts'
import { downloadsApi } from './downloads-api.ts'
import { form } from './form.ts'
import { formApi, formGuide } from './form-api.ts'
import { presigned } from './presigned.ts'
import { presignedApi, presignedGuide } from './presigned-api.ts'
import { raw } from './raw.ts'
import { rawApi, rawGuide } from './raw-api.ts'
import { tus } from './tus.ts'
import { tusApi, tusGuide } from './tus-api.ts'

interface WayIn {
  readonly routes: Dialect
  /** Its part of the OpenAPI document. */
  readonly api: ApiPart
  /** Its part of `/llms.txt`. */
  readonly guide?: Guide
}

/** Everything that clients call, in the order in which the documentation shows it. */
export const dialects: readonly WayIn[] = [
  { routes: presigned, api: presignedApi, guide: presignedGuide },
  { routes: direct, api: directApi, guide: directGuide },
  { routes: form, api: formApi, guide: formGuide },
  { routes: raw, api: rawApi, guide: rawGuide },
  { routes: tus, api: tusApi, guide: tusGuide },
  { routes: downloads, api: downloadsApi },
]

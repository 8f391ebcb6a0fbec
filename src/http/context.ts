import type { Router, RouterContext } from '@koa/router'
import type { Principal } from '../uploads/principal.ts'
import type { Origin } from './origin.ts'

/** What every request carries. */
export interface RequestState {
  requestId: string
  origin: Origin
  /** Set when the caller has proved who it is. */
  principal?: Principal
}

export type Ctx = RouterContext<RequestState>
export type Routes = Router<RequestState>

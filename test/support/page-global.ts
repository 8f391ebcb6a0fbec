import { buildPage } from '../../page/build.ts'

/** The page as its source is now, before anything asks for it. */
export const setup = buildPage

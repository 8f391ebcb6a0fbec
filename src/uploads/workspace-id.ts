const idPattern = /^[A-Za-z0-9_-]{1,64}$/
/** How the ids of personal workspaces begin. Nobody may choose such an id, so that it never equals a chosen one. */
const personalPrefix = 'personal_'

/** Whether the text can be the id of a workspace or of a project. */
export const isId = (text: string): boolean => idPattern.test(text)

/** The workspace of a user whose token names none. @param digest of the user, at most 55 characters of the alphabet of ids */
export const personalWorkspace = (digest: string): string => personalPrefix + digest

/** Whether the id is reserved for the personal workspaces of users. */
export const isPersonalWorkspace = (id: string): boolean => id.startsWith(personalPrefix)

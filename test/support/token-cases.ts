import { hmacToken, jwkOf, newSigningKey, pemOf, type SigningKey, tokenBy, unsignedToken } from './jwks.ts'

export const issuer = 'https://clerk.example.com'
export const audience = 'fairlead'
export const party = 'https://app.example.com'
/** Seconds; much, so that a slow machine changes no answer. */
export const leeway = 120

/** What an `uploads.config.ts` has to say for the cases; the JWKS URL comes by the environment. */
export const jwtConfig = `jwt: {
  issuer: '${issuer}', audience: ['other', '${audience}'], authorizedParties: ['https://b.example.com', '${party}'], leeway: ${leeway},
}`

export const keys = {
  rsa: newSigningKey('rsa-1', 'RS256'),
  rsaOther: newSigningKey('rsa-2', 'RS256'),
  ec: newSigningKey('ec-1', 'ES256'),
  ed: newSigningKey('ed-1', 'EdDSA'),
  weak: newSigningKey('weak', 'RS256', 1_024),
  stranger: newSigningKey('stranger', 'RS256'),
}
export const published: readonly SigningKey[] = [keys.rsa, keys.rsaOther, keys.ec, keys.ed, keys.weak]
const hmacSecret = 'a secret that the issuer published by mistake'
/** What an issuer could publish by mistake. */
export const publishedOddities: readonly object[] = [
  { kty: 'oct', kid: 'hmac', k: Buffer.from(hmacSecret).toString('base64url') },
  { ...keys.stranger.privateKey.export({ format: 'jwk' }), kid: 'private' },
  { kty: 'RSA', kid: 'broken', n: '!', e: 'AQAB' },
  { kty: 'unheard-of', kid: 'new' },
]

export const now = (): number => Math.floor(Date.now() / 1_000)

/** The claims of a session token of Clerk, version 1, with a workspace. `undefined` leaves one out. */
export const claims = (over: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  iss: issuer,
  aud: audience,
  azp: party,
  sub: 'user_2ann',
  sid: 'sess_2x',
  iat: now() - 10,
  nbf: now() - 10,
  exp: now() + 600,
  org_id: 'org_2acme',
  org_role: 'org:admin',
  org_slug: 'acme',
  ...over,
})
const withoutOrg = (over: Readonly<Record<string, unknown>> = {}) =>
  claims({ org_id: undefined, org_role: undefined, org_slug: undefined, ...over })
const versionTwo = (o: unknown, over: Readonly<Record<string, unknown>> = {}) =>
  withoutOrg({ v: 2, fva: [7, -1], sts: 'active', o, ...over })

export interface GoodToken {
  readonly what: string
  readonly token: () => string
  /** Its workspace; `personal`: one of the user's own. */
  readonly workspace: string
}

export interface BadToken {
  readonly what: string
  readonly token: () => string
  readonly code: string
  /** A part of the sentence. */
  readonly says: string
}

const good = (what: string, token: () => string, workspace = 'org_2acme'): GoodToken => ({ what, token, workspace })
const bad = (what: string, token: () => string, says: string, code = 'unauthenticated'): BadToken => ({
  what,
  token,
  code,
  says,
})

/** Claims, signed as they should be. */
const claim = (over: Readonly<Record<string, unknown>>) => () => tokenBy(keys.rsa, claims(over))
const header = (over: Readonly<Record<string, unknown>>, by = keys.rsa) => {
  return () => tokenBy(by, claims(), over)
}
const malformed = 'malformed, or its signature'
const otherAlgorithm = 'algorithm that is not taken'
const unknownKey = 'key that its issuer does not publish'
const wrongSubject = '"sub" must be 1 to 255'
const wrongWorkspace = 'workspace whose id is not 1 to 64'

/** The token with one letter of a segment changed for another one. */
function tampered(which: 0 | 1 | 2): string {
  const segments = tokenBy(keys.rsa, claims()).split('.')
  const segment = segments[which] ?? ''
  const middle = Math.floor(segment.length / 2)
  segments[which] = segment.slice(0, middle) + (segment[middle] === 'A' ? 'B' : 'A') + segment.slice(middle + 1)
  return segments.join('.')
}

function withPayload(token: string, payload: object): string {
  const [head, , signature] = token.split('.')
  return [head, Buffer.from(JSON.stringify(payload)).toString('base64url'), signature].join('.')
}

/** In the order in which they are told: signatures, claims, workspaces. */
export const tokenCases: readonly (GoodToken | BadToken)[] = [
  good('RS256', header({})),
  good('ES256', header({}, keys.ec)),
  good('EdDSA', header({}, keys.ed)),
  good('EdDSA under the name Ed25519', header({ alg: 'Ed25519' }, keys.ed)),
  good('no kid, one key of that type', header({ kid: undefined }, keys.ed)),
  good('no kid, several keys: the second one fits', header({ kid: undefined }, keys.rsaOther)),
  good('no typ', header({ typ: undefined })),
  bad('kid of a key that is not published', header({}, keys.stranger), unknownKey),
  bad('kid of another published key', header({ kid: 'rsa-2' }), malformed),
  bad('kid that is no text', header({ kid: 7 }), unknownKey),
  bad('no kid, signed by a stranger', header({ kid: undefined }, keys.stranger), malformed),
  bad('RSA key of 1024 bits', header({}, keys.weak), malformed),
  bad('kid of a private key in the set', header({ kid: 'private' }, keys.stranger), malformed),
  bad('kid of a broken key in the set', header({ kid: 'broken' }), malformed),
  bad('kid of a key of unknown type', header({ kid: 'new' }), unknownKey),
  bad('alg none, no signature', () => unsignedToken(claims(), { alg: 'none' }), otherAlgorithm),
  bad('alg None', () => unsignedToken(claims(), { alg: 'None' }), otherAlgorithm),
  bad('alg none with a signature', header({ alg: 'none' }), otherAlgorithm),
  bad('no alg', header({ alg: undefined }), malformed),
  bad('alg that is a list', header({ alg: ['RS256'] }), malformed),
  bad('alg __proto__', header({ alg: '__proto__' }), otherAlgorithm),
  bad(
    'HS256 with the public key as secret',
    () => hmacToken(pemOf(keys.rsa), claims(), { alg: 'HS256', kid: 'rsa-1' }),
    otherAlgorithm,
  ),
  bad(
    'HS256 with a secret in the set',
    () => hmacToken(hmacSecret, claims(), { alg: 'HS256', kid: 'hmac' }),
    otherAlgorithm,
  ),
  bad('RS512, which is not listed', header({ alg: 'RS512' }), otherAlgorithm),
  bad('PS256, which is not listed', header({ alg: 'PS256' }), otherAlgorithm),
  bad('ES256 with the kid of an RSA key', header({ kid: 'rsa-1' }, keys.ec), unknownKey),
  bad('RS256 with the kid of an EC key', header({ kid: 'ec-1' }), unknownKey),
  bad('tampered header', () => tampered(0), malformed),
  bad('tampered payload', () => tampered(1), malformed),
  bad(
    'payload of another workspace under an old signature',
    () => withPayload(tokenBy(keys.rsa, claims()), claims({ org_id: 'org_2other' })),
    malformed,
  ),
  bad('tampered signature', () => tampered(2), malformed),
  bad('signature cut off', () => tokenBy(keys.rsa, claims()).slice(0, -10), malformed),
  bad('no signature', () => tokenBy(keys.rsa, claims()).replace(/[^.]+$/, ''), malformed),
  bad('three segments of junk', () => 'a.b.c', malformed),
  bad('three segments of base64url junk', () => 'eyJh.eyJi.AAAA', malformed),
  bad('header that is no object', () => `${Buffer.from('[]').toString('base64url')}.e30.AAAA`, malformed),
  bad('two segments', () => tokenBy(keys.rsa, claims()).replace(/\.[^.]+$/, ''), 'API key is not valid'),
  bad('five segments', () => `${tokenBy(keys.rsa, claims())}.AAAA.AAAA`, 'API key is not valid'),
  bad('payload that is no JSON', () => tokenBy(keys.rsa, 'not json'), malformed),
  bad('payload that is a list', () => tokenBy(keys.rsa, []), malformed),
  bad('payload that is null', () => tokenBy(keys.rsa, 'null'), malformed),
  bad('token too long', claim({ more: 'x'.repeat(8_000) }), 'too long'),
  good('long token', claim({ more: 'x'.repeat(4_000) })),
  bad('crit with an unknown extension', header({ crit: ['exp'], exp: 1 }), malformed),
  bad('crit that is empty', header({ crit: [] }), malformed),
  bad('b64 false, named by crit', header({ crit: ['b64'], b64: false }), malformed),
  good('b64 false without crit is no extension', header({ b64: false })),
  bad('jwk of a stranger in the header', header({ jwk: jwkOf(keys.stranger) }, keys.stranger), unknownKey),
  bad(
    'jwk of a stranger in the header, no kid',
    header({ kid: undefined, jwk: jwkOf(keys.stranger) }, keys.stranger),
    malformed,
  ),
  bad('jku of a stranger', header({ jku: 'http://127.0.0.1:1/keys' }, keys.stranger), unknownKey),
  bad('x5u of a stranger', header({ x5u: 'http://127.0.0.1:1/cert', x5c: ['MII='] }, keys.stranger), unknownKey),
  good('jku beside a good signature is not followed', header({ jku: 'http://127.0.0.1:1/keys', x5c: ['MII='] })),

  bad('expired', claim({ exp: now() - leeway - 60 }), 'has expired', 'token_expired'),
  good('expired within the leeway', claim({ exp: now() - leeway / 2 })),
  bad('no exp', claim({ exp: undefined }), '"exp" is missing'),
  bad('exp that is text', claim({ exp: String(now() + 600) }), '"exp" is no time'),
  bad('exp that is null', claim({ exp: null }), '"exp" is no time'),
  bad(
    'exp without end',
    () => tokenBy(keys.rsa, JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e999')),
    '"exp" is no time',
  ),
  bad('not valid yet', claim({ nbf: now() + leeway + 60 }), 'not valid yet'),
  good('nbf ahead within the leeway', claim({ nbf: now() + leeway / 2 })),
  good('no nbf', claim({ nbf: undefined })),
  bad('nbf that is text', claim({ nbf: 'soon' }), '"nbf" is no time'),
  bad('wrong issuer', claim({ iss: 'https://clerk.example.org' }), 'another issuer'),
  bad('issuer with a slash more', claim({ iss: `${issuer}/` }), 'another issuer'),
  bad('issuer in a list', claim({ iss: [issuer] }), 'another issuer'),
  bad('no issuer', claim({ iss: undefined }), '"iss" is missing'),
  good('audience in a list', claim({ aud: ['elsewhere', audience] })),
  bad('wrong audience', claim({ aud: 'elsewhere' }), 'another audience'),
  bad('wrong audiences', claim({ aud: ['elsewhere', 'fair', 7] }), 'another audience'),
  bad('empty list of audiences', claim({ aud: [] }), 'another audience'),
  bad('audience that is an object', claim({ aud: { fairlead: true } }), 'another audience'),
  bad('no audience', claim({ aud: undefined }), '"aud" is missing'),
  good('another authorized party of the list', claim({ azp: 'https://b.example.com' })),
  bad('wrong authorized party', claim({ azp: 'https://evil.example.com' }), '"azp" is not one'),
  bad('authorized parties in a list', claim({ azp: [party] }), '"azp" is not one'),
  bad('no authorized party', claim({ azp: undefined }), '"azp" is missing'),
  good('session that is active', claim({ sts: 'active' })),
  bad('session that is pending', claim({ sts: 'pending' }), 'is pending'),
  bad('no subject', claim({ sub: undefined }), '"sub" is missing'),
  bad('empty subject', claim({ sub: '' }), wrongSubject),
  bad('subject of spaces', claim({ sub: '   ' }), wrongSubject),
  bad('subject that is a number', claim({ sub: 7 }), wrongSubject),
  bad('subject with a control character', claim({ sub: 'ann\u0000' }), wrongSubject),
  bad('subject with an invisible character', claim({ sub: 'ann\u200b' }), wrongSubject),
  bad('subject with half a character', claim({ sub: 'ann\ud800' }), wrongSubject),
  bad('subject of 256 characters', claim({ sub: 's'.repeat(256) }), wrongSubject),
  good('subject of 255 characters', claim({ sub: '\u{1f600}'.repeat(255) })),

  good('Clerk version 2: o.id', () =>
    tokenBy(keys.rsa, versionTwo({ id: 'org_2acme', rol: 'admin', slg: 'acme', per: 'read,manage', fpm: '3,2' })),
  ),
  good('org_id and o.id alike', claim({ v: 2, o: { id: 'org_2acme' } })),
  bad('org_id and o.id differ', claim({ v: 2, o: { id: 'org_2other' } }), 'two workspaces'),
  good('no organization', () => tokenBy(keys.rsa, withoutOrg()), 'personal'),
  good('org_id null', claim({ org_id: null }), 'personal'),
  good('o without id', () => tokenBy(keys.rsa, versionTwo({ rol: 'admin' })), 'personal'),
  good('o that is text', () => tokenBy(keys.rsa, versionTwo('acme')), 'personal'),
  good('workspace of 64 characters', claim({ org_id: 'w'.repeat(64) }), 'w'.repeat(64)),
  bad('workspace of 65 characters', claim({ org_id: 'w'.repeat(65) }), wrongWorkspace),
  bad('workspace that is empty', claim({ org_id: '' }), wrongWorkspace),
  bad('workspace with a slash', claim({ org_id: '../acme' }), wrongWorkspace),
  bad('workspace with a line end', claim({ org_id: 'acme\n' }), wrongWorkspace),
  bad('workspace that is a number', claim({ org_id: 7 }), wrongWorkspace),
  bad('workspace that is a list', claim({ org_id: ['org_2acme'] }), wrongWorkspace),
  bad('o.id that is an object', () => tokenBy(keys.rsa, versionTwo({ id: {} })), wrongWorkspace),
  bad('workspace with the prefix of personal ones', claim({ org_id: `personal_${'A'.repeat(43)}` }), 'id is reserved'),
]

export const goodTokens = tokenCases.filter((one) => 'workspace' in one)
export const badTokens = tokenCases.filter((one) => 'code' in one)

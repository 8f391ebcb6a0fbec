import { z } from 'zod'
import { absent, httpUrl, option, whole } from './option.ts'
import { readList } from './values.ts'

const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const
const claim = {
  type: z.string().regex(/^[^.\s]{1,64}(\.[^.\s]{1,64}){0,4}$/),
  takes: 'the name of a claim, or a path such as o.id',
}
const names = (takes: string) => ({
  type: z.array(z.string().min(1).max(1_024)).min(1),
  takes,
  read: readList,
})

/** Whose tokens are taken beside API keys. */
export const jwt = z.strictObject({
  jwksUrl: absent(httpUrl, 'none', {
    variable: 'FAIRLEAD_JWT_JWKS_URL',
    meaning: 'Where the public keys of the issuer are. This or `jwt.publicKey` makes the gateway take JWTs.',
  }),
  publicKey: absent(
    {
      type: z.string().regex(/^-----BEGIN (PUBLIC KEY|CERTIFICATE)-----\s[^]+-----END \1-----\s*$/),
      takes: 'a public key (SPKI) or a certificate in PEM; \\n may stand for the line ends',
      read: (text) => text.replaceAll('\\n', '\n'),
    },
    'none',
    { variable: 'FAIRLEAD_JWT_PUBLIC_KEY', meaning: 'The key of the issuer, where there is no `jwt.jwksUrl`.' },
  ),
  issuer: absent({ type: z.string().min(1).max(1_024), takes: 'text that is not empty' }, 'none', {
    variable: 'FAIRLEAD_JWT_ISSUER',
    meaning: 'What `iss` must be. Without it any is taken that the key has signed: set it.',
  }),
  audience: absent(names('a list of names'), 'any', {
    variable: 'FAIRLEAD_JWT_AUDIENCE',
    meaning: '`aud` must hold one of these.',
  }),
  authorizedParties: absent(names('a list of origins or names'), 'any', {
    variable: 'FAIRLEAD_JWT_AUTHORIZED_PARTIES',
    meaning: '`azp` must be one of these; a token without it is refused then.',
  }),
  algorithms: option(
    { type: z.array(z.enum(algorithms)).min(1), takes: `a list of ${algorithms.join(', ')}`, read: readList },
    ['RS256', 'ES256', 'EdDSA'],
    { meaning: 'Signatures that are taken; `EdDSA` may also be called `Ed25519`. Symmetric ones never are.' },
  ),
  workspaceClaim: absent(claim, '`org_id`, or `o.id`', {
    meaning: 'Claim that names the workspace; a dot leads into an object, unless a claim has the whole name.',
  }),
  scopesClaim: absent(claim, 'every user may read and write', {
    meaning: 'Claim with the scopes `uploads:read` and `uploads:write`, as a list or separated by spaces.',
  }),
  leeway: option(whole(0, 300), 5, { meaning: 'Seconds by which the clocks may differ.' }),
})

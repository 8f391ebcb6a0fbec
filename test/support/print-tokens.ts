import { clientOf } from './client.ts'
import { startGateway } from './gateway.ts'
import { startIssuer } from './jwks.ts'
import { jwtConfig, published, publishedOddities, tokenCases } from './token-cases.ts'

// Prints a table of tokens, good and bad, and what the real server answers to each.
// Usage: node test/support/print-tokens.ts

interface Answered {
  readonly data?: { readonly workspace_id: string }
  readonly error_code?: string
  readonly detail?: string
}

const issuer = await startIssuer(published, publishedOddities)
const gateway = await startGateway({
  config: `export default { plugins: [], ${jwtConfig} }`,
  env: { FAIRLEAD_JWT_JWKS_URL: issuer.url },
})
console.log('| case | status | answer |')
console.log('| --- | --- | --- |')
for (const { what, token } of tokenCases) {
  const answer = await clientOf(gateway, token())('GET', '/api/v1/auth/whoami')
  const { data, error_code: code, detail } = answer.json<Answered>()
  console.log(`| ${what} | ${answer.status} | ${data ? `workspace ${data.workspace_id}` : `${code}: ${detail}`} |`)
}
await gateway.close()
await issuer.leave()

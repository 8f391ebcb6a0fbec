import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface Certificate {
  readonly tls: { readonly key: string; readonly cert: string }
  /** File for NODE_EXTRA_CA_CERTS. */
  readonly authority: string
}

/** A certificate for 127.0.0.1 that nobody trusts who is not told to. @param folder where its files go */
export async function certificate(folder: string): Promise<Certificate> {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', ...subject]
  await promisify(execFile)('openssl', [...args, '-keyout', key, '-out', cert])
  return { tls: { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') }, authority: cert }
}

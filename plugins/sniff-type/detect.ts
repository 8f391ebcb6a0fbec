import { isActive, typeOfDeclared, typesOfName, unknownType } from '../../src/plugin.ts'
import { type BinaryType, bytesOf, type Rest } from './bytes.ts'
import { markupOf } from './markup.ts'
import { binaryType } from './signatures.ts'
import { decodeText } from './text.ts'
import { isTextType, textType } from './text-kinds.ts'

export interface Found extends BinaryType {
  readonly charset: string | null
}

export interface Claims {
  readonly filename: string
  readonly declaredType: string | null
}

/**
 * What the bytes are. Bytes that are text are text, whatever short signature they spell (`BM`, `MZ`, `GIF89a`); the name, and
 * after it the declared type, chooses only between kinds of text, or between members of a family that the bytes have proved.
 *
 * @param complete whether `head` is the whole file
 * @param rest what follows `head`, where it can be read
 */
export async function detect(head: Uint8Array, complete: boolean, claims: Claims, rest?: Rest): Promise<Found> {
  const named = typesOfName(claims.filename)
  const declared = typeOfDeclared(claims.declaredType)
  const claimed = declared ? [...named, declared] : named
  const hint = claimed.find(isTextType)
  // an empty file proves nothing, and harms nobody: the name of a text kind is taken, if that kind may be empty
  if (head.length === 0) return { ...(hint ? textType('', hint, true) : unknownType), charset: null }

  const decoded = decodeText(head, complete, hint !== undefined)
  if (decoded) {
    const type = textType(decoded.text, hint, complete)
    return { ...type, charset: isTextType(type) ? (decoded.charset ?? ownCharset(decoded.text)) : null }
  }
  // a page is a page for a browser, whatever bytes follow its first tag
  const markup = markupOf(Buffer.from(head).toString('latin1'), hint)
  if (markup && isActive(markup.contentType)) return { ...markup, charset: null }
  const bytes = bytesOf(Buffer.from(head.buffer, head.byteOffset, head.byteLength), complete, rest)
  return { ...((await binaryType(bytes, named, claimed)) ?? unknownType), charset: null }
}

/** The encoding that a page or XML names itself, for bytes in one that we do not know. */
function ownCharset(text: string): string | null {
  const label = /(?:encoding|charset)\s*=\s*["']?([\w:.-]{2,40})/i.exec(text.slice(0, 1024))?.[1]
  try {
    return label === undefined ? null : new TextDecoder(label).encoding
  } catch {
    return null
  }
}

import { z } from 'zod'
import { jsonAnswer, nobody, type Operation, textAnswer } from './api.ts'
import { examplesOf } from './api-examples.ts'
import { assetNames } from './documentation.ts'
import { pageAssetNames } from './page.ts'

const common = { tag: 'Operations', method: 'get', security: nobody, refusals: [] } as const

/** @param example of the first type */
const fileAnswers = (example: string, ...types: string[]): Operation['answers'] => ({
  200: {
    description: 'The file.',
    content: Object.fromEntries(
      types.map((type, index) => [
        type,
        { schema: { type: 'string' }, ...(index === 0 && { examples: examplesOf({ file: example }) }) },
      ]),
    ),
  },
  304: { description: 'The client has it.' },
})

/** What is answered to those who run the gateway, and about the gateway. */
export const operationsApi: readonly Operation[] = [
  {
    ...common,
    path: '/healthz',
    id: 'health',
    summary: 'Is the process alive?',
    answers: { 200: jsonAnswer('It is.', z.strictObject({ status: z.literal('ok') }), { alive: { status: 'ok' } }) },
    refusals: [],
  },
  {
    ...common,
    path: '/readyz',
    id: 'readiness',
    summary: 'Can it take uploads?',
    description: 'Asks the records and the store, at most every two seconds.',
    answers: {
      200: jsonAnswer('It can.', z.strictObject({ status: z.literal('ready') }), { ready: { status: 'ready' } }),
    },
    refusals: ['not_ready'],
  },
  {
    ...common,
    path: '/metrics',
    id: 'metrics',
    summary: 'Metrics for Prometheus',
    description:
      'With `metrics.token`. 404 without it: the metrics are switched off, or on a port of their own (`metrics.port`).',
    security: [{ metricsToken: [] }],
    answers: { 200: textAnswer('The text format, version 0.0.4.', 'text/plain', 'fairlead_jobs{state="waiting"} 0\n') },
    refusals: ['unauthenticated', 'not_found'],
  },
  {
    ...common,
    path: '/openapi.json',
    id: 'openapi',
    summary: 'This document',
    answers: {
      200: jsonAnswer('OpenAPI 3.1.', z.looseObject({ openapi: z.string().regex(/^3\.1\.\d+$/) }), {
        beginning: { openapi: '3.1.1', info: { title: 'Fairlead' } },
      }),
    },
  },
  {
    ...common,
    path: '/docs',
    id: 'docs',
    summary: 'This document, for people',
    description: 'Swagger UI; works without any other host.',
    answers: { 200: textAnswer('A page.', 'text/html', '<!doctype html>…') },
  },
  {
    ...common,
    path: '/docs/{file}',
    id: 'docsFile',
    summary: 'What that page loads',
    params: { path: z.object({ file: z.enum(assetNames) }) },
    answers: fileAnswers('SwaggerUIBundle({ … })', 'text/javascript', 'text/css', 'image/png'),
    refusals: ['not_found'],
  },
  {
    ...common,
    path: '/llms.txt',
    id: 'llms',
    summary: 'The API in short, for language models',
    answers: { 200: textAnswer('Markdown, as llmstxt.org describes it.', 'text/plain', '# Fairlead\n…') },
  },
]

/** The page to try the gateway with, where it is not switched off. */
export const pageApi: readonly Operation[] = [
  {
    ...common,
    path: '/',
    id: 'page',
    summary: 'A page to try the gateway with',
    description: 'Takes an API key and files, and shows what became of them. Works without any other host.',
    answers: fileAnswers('<!doctype html>…', 'text/html'),
  },
  {
    ...common,
    path: '/page/{file}',
    id: 'pageFile',
    summary: 'What that page loads',
    params: { path: z.object({ file: z.enum(pageAssetNames) }) },
    answers: fileAnswers('const …', 'text/javascript', 'text/css', 'image/svg+xml'),
    refusals: ['not_found'],
  },
]

import { z } from 'zod'
import { jsonAnswer, nobody, type Operation, textAnswer } from './api.ts'
import { examplesOf } from './api-examples.ts'
import { assetNames } from './documentation.ts'

const common = { tag: 'Operations', method: 'get', security: nobody, refusals: [] } as const

/** What is answered to those who run the gateway, and about the gateway. */
export const operationsApi: readonly Operation[] = [
  {
    ...common,
    path: '/healthz',
    id: 'health',
    summary: 'Is the process alive?',
    answers: { 200: jsonAnswer('It is.', z.strictObject({ status: z.literal('ok') }), { alive: { status: 'ok' } }) },
    refusals: ['not_acceptable'],
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
    refusals: ['not_acceptable', 'not_ready'],
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
    answers: {
      200: {
        description: 'The file.',
        content: {
          'text/javascript': { schema: { type: 'string' }, examples: examplesOf({ script: 'SwaggerUIBundle({ … })' }) },
          'text/css': { schema: { type: 'string' } },
          'image/png': { schema: { type: 'string' } },
        },
      },
      304: { description: 'The client has it.' },
    },
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

import { rm } from 'node:fs/promises'
import { createServer, request, type Server } from 'node:http'
import { text } from 'node:stream/consumers'
import { CONTROL_SOCKET } from './place.ts'

/** What a bench in the background can be asked to do: name → what it does with the arguments it was sent. */
export type Commands = Readonly<Record<string, (args: Record<string, string | undefined>) => unknown>>

/** Serves commands to every user who may enter the current folder. */
export async function serveCommands(commands: Commands): Promise<Server> {
  const server = createServer(async (message, response) => {
    try {
      const command = commands[(message.url ?? '').slice(1)]
      if (!command) throw new Error(`this bench knows no ${message.url}: it was started by another version`)
      const answer = await command(JSON.parse(await text(message)))
      response.end(JSON.stringify(answer ?? null))
    } catch (error) {
      response.writeHead(400).end(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }))
    }
  })
  // A bench that was killed leaves its socket behind; we hold the lock.
  await rm(CONTROL_SOCKET, { force: true })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(CONTROL_SOCKET, resolve))
  return server
}

/** No bench listens in the current folder. */
export class NoBench extends Error {}

/** Asks the bench whose folder is the current one. Errors: NoBench; what the bench says is wrong. */
export function ask<T>(command: string, args: Record<string, string | undefined> = {}): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: CONTROL_SOCKET, path: `/${command}`, method: 'POST' }, async response => {
      try {
        const answer = JSON.parse(await text(response))
        if (response.statusCode === 200) resolve(answer)
        else reject(new Error(answer.error))
      } catch (error) {
        reject(error)
      }
    })
    call.once('error', (error: NodeJS.ErrnoException) => {
      const nobody = error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
      reject(nobody ? new NoBench('no bench runs here: scripts/bench up starts one', { cause: error }) : error)
    })
    call.end(JSON.stringify(args))
  })
}

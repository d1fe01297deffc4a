import { createLogUpdate } from 'log-update'
import { onOneLine } from '../../../src/domain/terminal.ts'
import { draw, painter } from './draw.ts'
import type { Scene } from './scene.ts'

const FRAME_MS = 80

/** Shows the scene until stopped; the last frame stays. */
export interface Show {
  readonly tell: (at: number, subject: string, text: string) => void
  begin(scene: Scene): void
  end(): void
}

/** One line per event, without any control code. */
export const plainShow = (out: NodeJS.WritableStream): Show => ({
  tell: (at, subject, text) => out.write(`${at.toFixed(1).padStart(6)} s  ${subject.padEnd(8)}${onOneLine(text)}\n`),
  begin: scene => out.write(`${scene.title}\n`),
  end: () => {},
})

/** A picture that moves. */
export function liveShow(out: NodeJS.WriteStream, colours: boolean): Show {
  const update = createLogUpdate(out)
  const paint = painter(colours)
  let timer: NodeJS.Timeout | undefined
  let frame = () => {}
  return {
    tell: () => {},
    begin(scene) {
      frame = () => update(draw(scene, { columns: out.columns ?? 80, rows: out.rows ?? 24, paint, now: Date.now() }))
      frame()
      timer = setInterval(frame, FRAME_MS)
    },
    end() {
      if (!timer) return
      clearInterval(timer)
      timer = undefined
      frame()
      update.done()
    },
  }
}

// The trigger port of a peer on Node, on which it is given its ticks.
import { createServer } from 'node:net'
import { once } from 'node:events'

/**
 * Call `send(channel, message)`, with a number and a Buffer, for each message of each tick that comes; returns the port.
 * Ticks: u32 bytes that follow, u32 count, then u32 channel, u32 length, message (see benchmarks/native/limit.c).
 */
export async function listenForTicks(send) {
  const control = createServer((connection) => {
    let rest = Buffer.alloc(0)
    connection.on('data', (data) => {
      rest = rest.length ? Buffer.concat([rest, data]) : data
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
        const size = rest.readUInt32LE(0)
        broadcast(rest.subarray(4, 4 + size), send)
        rest = rest.subarray(4 + size)
      }
    })
  })
  control.listen(0, '127.0.0.1')
  await once(control, 'listening')
  return control.address().port
}

function broadcast(body, send) {
  let at = 4
  for (let left = body.readUInt32LE(0); left; left--) {
    const size = body.readUInt32LE(at + 4)
    send(body.readUInt32LE(at), body.subarray(at + 8, at + 8 + size))
    at += 8 + size
  }
}

// uWebSockets.js, as a package of npm has it: publish() to the topic of each channel.
import { createServer } from 'node:net'
import { once } from 'node:events'
import uws from '@trufflesuite/uws-js-unofficial'

const { App, DISABLED, us_socket_local_port } = uws
if (DISABLED === undefined) throw new Error('uWebSockets.js has no build for this Node and this machine')

const app = App().ws('/*', {
  compression: DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  maxBackpressure: 16 << 20,
  message: (client, data) => Buffer.from(data).toString().split(' ').forEach((channel) => client.subscribe(channel)),
})

// Ticks: u32 bytes that follow, u32 count, then u32 channel, u32 length, message (see benchmarks/native/limit.c).
function broadcast(body) {
  let at = 4
  for (let left = body.readUInt32LE(0); left; left--) {
    const channel = body.readUInt32LE(at)
    const size = body.readUInt32LE(at + 4)
    app.publish(String(channel), body.subarray(at + 8, at + 8 + size), false)
    at += 8 + size
  }
}

const control = createServer((connection) => {
  let rest = Buffer.alloc(0)
  connection.on('data', (data) => {
    rest = rest.length ? Buffer.concat([rest, data]) : data
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
      const size = rest.readUInt32LE(0)
      broadcast(rest.subarray(4, 4 + size))
      rest = rest.subarray(4 + size)
    }
  })
})
control.listen(0, '127.0.0.1')
await once(control, 'listening')
app.listen('127.0.0.1', 0, (socket) => {
  if (!socket) throw new Error('uWebSockets.js could not listen')
  console.log(`${us_socket_local_port(socket)} ${control.address().port}`)
})

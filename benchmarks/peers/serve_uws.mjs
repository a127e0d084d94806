// uWebSockets.js, as a package of npm has it: publish() to the topic of each channel.
import uws from '@trufflesuite/uws-js-unofficial'
import { listenForTicks } from './control.mjs'

const { App, DISABLED, us_socket_local_port } = uws
if (DISABLED === undefined) throw new Error('uWebSockets.js has no build for this Node and this machine')

const app = App().ws('/*', {
  compression: DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  maxBackpressure: 16 << 20,
  message: (client, data) => Buffer.from(data).toString().split(' ').forEach((channel) => client.subscribe(channel)),
})

const trigger = await listenForTicks((channel, message) => app.publish(String(channel), message, false))
app.listen('127.0.0.1', 0, (socket) => {
  if (!socket) throw new Error('uWebSockets.js could not listen')
  console.log(`${us_socket_local_port(socket)} ${trigger}`)
})

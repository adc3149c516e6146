let requests = 0;

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  requests += 1;
  const headers = {
    "content-type": "application/octet-stream",
    "x-requests": String(requests),
  };
  switch (request.method) {
    case "GET":
      return new Response("Hello, world!\n", { headers });
    case "POST":
      return new Response(request.body, { headers });
    default:
      return new Response(null, { status: 405, headers });
  }
}

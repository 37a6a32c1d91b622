"""Models as WebAssembly, with a module of JavaScript and a page that run them."""

// JupyterLab shows a PNG without its alternative text, although the output's metadata hold it, as
// {"image/png": {"alt": "..."}}. This extension puts it there. It is written by hand in the form in
// which JupyterLab loads extensions, so that it needs no build: a container with `init` and `get`.
(() => {
  let shared;

  /** One of JupyterLab's own modules. */
  async function load(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  async function makePlugin() {
    const { IRenderMimeRegistry, RenderedImage } = await load("@jupyterlab/rendermime");

    class DescribedImage extends RenderedImage {
      async render(model) {
        await super.render(model);
        const words = (model.metadata["image/png"] || {}).alt;
        const image = this.node.querySelector("img");
        if (image && typeof words === "string") image.alt = words;
      }
    }

    return {
      id: "tinyreptile-alt:plugin",
      description: "Gives pictures the alternative text that their metadata hold.",
      autoStart: true,
      requires: [IRenderMimeRegistry],
      activate: (_app, registry) => {
        registry.addFactory({
          safe: true,
          mimeTypes: ["image/png"],
          defaultRank: 90, // that of JupyterLab's own
          createRenderer: (options) => new DescribedImage(options),
        });
      },
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["tinyreptile-alt"] = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const plugin = await makePlugin();
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
